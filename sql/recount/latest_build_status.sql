-- Recount of coderd_workspace_latest_build_status: workspaces that are not deleted, by what their latest build is.
select
  j.job_status::text as status,
  coalesce(t.name, '') as template_name,
  coalesce(v.name, '') as template_version,
  coalesce(u.username, '') as workspace_owner,
  b.transition::text as workspace_transition,
  count(*) as value
from (
  select distinct on (b.workspace_id) b.*
  from public.workspace_builds as b
  order by b.workspace_id, b.build_number desc
) as b
join public.workspaces as w on w.id = b.workspace_id and not w.deleted
join public.provisioner_jobs as j on j.id = b.job_id
left join public.templates as t on t.id = w.template_id
left join public.template_versions as v on v.id = b.template_version_id
left join public.users as u on u.id = w.owner_id
group by 1, 2, 3, 4, 5
order by 1, 2, 3, 4, 5;
