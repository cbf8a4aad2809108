-- Recount of coderd_workspace_creation_oldest_in_flight_timestamp_seconds: when the oldest first build in flight was
-- created, in microseconds since the Unix epoch. A label set with nothing in flight has no row.
select
  coalesce(o.name, '') as organization_name,
  coalesce(t.name, '') as template_name,
  coalesce(p.name, '') as preset_name,
  min((extract(epoch from b.created_at) * 1000000)::bigint) as value
from public.workspace_builds as b
join public.provisioner_jobs as j on j.id = b.job_id
left join public.workspaces as w on w.id = b.workspace_id
left join public.organizations as o on o.id = w.organization_id
left join public.templates as t on t.id = w.template_id
left join public.template_version_presets as p on p.id = b.template_version_preset_id
where b.build_number = 1
  and b.transition = 'start'
  and b.initiator_id <> 'c42fdf75-3097-471c-8c33-fb52454d81c0' -- the system user that makes prebuilds
  and j.completed_at is null
group by 1, 2, 3
order by 1, 2, 3;
