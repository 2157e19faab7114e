"""What is left behind for anybody to check: audit records, the log, receipts."""
