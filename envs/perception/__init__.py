"""What perception models learn: recordings of fights, labels from their true future, fair splits."""
