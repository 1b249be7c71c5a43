"""The job: photographs in; CNN features, scaler, PCA, classifier and a report out. The same bytes on every target."""
