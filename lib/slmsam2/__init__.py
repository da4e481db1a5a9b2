"""SLM-SAM 2 for annotation servers: paint one slice of a structure, get the volume."""
