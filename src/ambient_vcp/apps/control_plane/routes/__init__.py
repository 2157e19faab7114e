"""The API's operations, by resource. Each says who may call it, what goes in, what comes out."""
