-- Recount of coderd_workspace_builds_total: builds that a provisioner had and that ended, by workspace.
select
  coalesce(u.username, '') as workspace_owner,
  coalesce(w.name, '') as workspace_name,
  coalesce(t.name, '') as template_name,
  coalesce(v.name, '') as template_version,
  case b.transition when 'delete' then 'DESTROY' else upper(b.transition::text) end as workspace_transition,
  case when j.error <> '' then 'failed' else 'success' end as status,
  count(*) as value
from public.workspace_builds as b
join public.provisioner_jobs as j on j.id = b.job_id
left join public.workspaces as w on w.id = b.workspace_id
left join public.users as u on u.id = w.owner_id
left join public.templates as t on t.id = w.template_id
left join public.template_versions as v on v.id = b.template_version_id
where j.completed_at is not null
  and j.started_at is not null
  and j.worker_id is not null
group by 1, 2, 3, 4, 5, 6
order by 1, 2, 3, 4, 5, 6;
