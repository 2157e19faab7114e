"""What survives a restart: the data folder, the spool, durable writes."""
