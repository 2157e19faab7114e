"""The life of a task, one step a module: submit, place, lease, results, settle, finish, sweep."""
