"""gestray's stages as Ray jobs, the pipeline that chains them, and the command line."""
