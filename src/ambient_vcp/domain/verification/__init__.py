"""What makes a result final: agreement, escalation, audits, error bounds."""
