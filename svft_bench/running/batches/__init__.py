"""From the rows of a training set to tensors: tokenised, windowed, packed and padded."""
