"""From what comes with an inference to a job for the engine, and from its result to a file."""
