"""Named programs: what each takes, what it answers, and which one a plain request means."""
