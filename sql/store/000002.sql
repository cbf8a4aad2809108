-- Which server of the system the position is true of, to tell a load balancer from a lost slot. Empty: not known.
alter table position add column server text not null default '';
