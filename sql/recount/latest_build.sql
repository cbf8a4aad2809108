-- Recount of coderd_api_workspace_latest_build: workspaces that are not deleted, by the status of their latest build's job.
select j.job_status::text as status, count(*) as value
from (
  select distinct on (b.workspace_id) b.*
  from public.workspace_builds as b
  order by b.workspace_id, b.build_number desc
) as b
join public.workspaces as w on w.id = b.workspace_id and not w.deleted
join public.provisioner_jobs as j on j.id = b.job_id
group by 1
order by 1;
