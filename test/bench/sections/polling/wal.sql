-- Heartbeats of one table, each a transaction of its own. Settings: bench.what (agents or jobs), bench.count.
do $$
declare
  ids constant uuid[] := case current_setting('bench.what')
    when 'agents' then array(select id from workspace_agents where first_connected_at is not null order by created_at desc limit 100)
    else array(select id from provisioner_jobs where type = 'workspace_build' order by created_at desc limit 100)
  end;
begin
  for i in 1..current_setting('bench.count')::int loop
    if current_setting('bench.what') = 'agents' then
      update workspace_agents
      set first_connected_at = first_connected_at, last_connected_at = clock_timestamp(), updated_at = clock_timestamp(),
        last_connected_replica_id = last_connected_replica_id, disconnected_at = null
      where id = ids[1 + i % array_length(ids, 1)];
    else
      update provisioner_jobs set updated_at = clock_timestamp() where id = ids[1 + i % array_length(ids, 1)];
    end if;
    commit;
  end loop;
end $$
