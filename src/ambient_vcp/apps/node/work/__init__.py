"""From a lease to an acknowledged result: claim, fetch, execute, spool, deliver."""
