-- Heartbeats of connected agents at a steady pace, each a transaction of its own as Coder writes them; with every ten, three
-- heartbeats of running provisioner jobs and five commits on a table that nobody publishes. Settings: bench.rate (per second;
-- 0: as fast as it goes), bench.count, bench.agents, bench.tell_every, bench.snapshot_every (heartbeats; 0: never).
-- Its notices say how many are committed, and the end of the WAL that is flushed.
do $$
declare
  rate constant float8 := current_setting('bench.rate');
  total constant bigint := current_setting('bench.count');
  tell_every constant bigint := current_setting('bench.tell_every');
  snapshot_every constant bigint := current_setting('bench.snapshot_every');
  agents uuid[];
  jobs uuid[];
  began constant timestamptz := clock_timestamp();
  due timestamptz;
begin
  agents := array(
    select id from workspace_agents where first_connected_at is not null
    order by created_at desc limit current_setting('bench.agents')::int);
  jobs := array(
    select id from provisioner_jobs where started_at is not null and completed_at is null
    order by created_at desc limit 600);
  raise notice '0 %', pg_current_wal_flush_lsn();
  for i in 1..total loop
    update workspace_agents
    set first_connected_at = first_connected_at, last_connected_at = clock_timestamp(), updated_at = clock_timestamp(),
      last_connected_replica_id = last_connected_replica_id, disconnected_at = null
    where id = agents[1 + i % array_length(agents, 1)];
    commit;
    if i % 10 in (2, 5, 8) then
      update provisioner_jobs set updated_at = clock_timestamp() where id = jobs[1 + i % array_length(jobs, 1)];
      commit;
    end if;
    if i % 2 = 0 then
      update unwatched set at = clock_timestamp() where id = 1 + i % 1000;
      commit;
    end if;
    if i % tell_every = 0 then
      raise notice '% %', i, pg_current_wal_flush_lsn();
    end if;
    if snapshot_every > 0 and i % snapshot_every = 0 then
      perform pg_log_standby_snapshot();
    end if;
    if rate > 0 then
      due := began + i * interval '1 second' / rate;
      if due > clock_timestamp() then
        perform pg_sleep(extract(epoch from due - clock_timestamp()));
      end if;
    end if;
  end loop;
end $$
