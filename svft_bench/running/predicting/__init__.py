"""From a model and an eval set to predictions: answers, texts, spans, pictures; scoring is the task's business."""
