"""What is known and refused of a module before it is compiled."""
