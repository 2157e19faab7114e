"""One module an aggregate: the statements and the rows they fill."""
