"""What people and monitoring see of a fleet over HTTP, and as one file. Changes nothing."""
