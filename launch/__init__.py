"""The laptop's side: builds the model file, packages the job, submits it and follows it."""
