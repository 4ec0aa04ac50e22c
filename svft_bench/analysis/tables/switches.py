"""What happens between a row and a model, and between a model and a score, in words: the switches that papers hide."""

from __future__ import annotations

from svft_bench.config.spec import KINDS, EvalSpec, GenerationSpec, ImageSpec, PromptSpec, RunSpec, has_validation


def inputs(spec: RunSpec) -> str:
    """How a training row becomes tensors: pixels, or tokens with their template, mask, length and padding."""
    if spec.model.image is not None:
        return _pixels(spec.model.image)
    prompt = spec.task.prompt
    side = (prompt.padding_side if prompt else None) or spec.model.padding_side or "tokenizer's side"
    padded = f"padded on the {side} with {spec.model.pad_token or 'its own pad token'}"
    if spec.model.pad_token_from == "added":
        padded += ", which is added to the vocabulary"
    if spec.train.sampling == "group_by_length":
        padded += ", in batches of similar lengths"
    if (span := spec.task.span) is not None:
        return (
            f"question and context in windows of {spec.task.max_length:,} tokens that share {span.stride:,}, {padded}"
        )
    loss = f"loss averaged over {spec.train.loss_average.replace('_', '-')}"
    if spec.task.max_target_length is not None:
        smoothed = f", labels smoothed by {spec.train.label_smoothing:g}" if spec.train.label_smoothing else ""
        before = f" behind '{spec.task.prefix}'" if spec.task.prefix else ""
        cut = f"text{before} cut at {spec.task.max_length:,} tokens, target at {spec.task.max_target_length:,}"
        return f"{cut}, {padded}, {loss}{smoothed}"
    if prompt is None:
        return f"text cut at {spec.task.max_length:,} tokens, {padded}"
    return ", ".join([*_prompt(prompt), padded, loss])


def scoring(spec: RunSpec) -> str:
    """How a prediction is made and judged, for each eval; those that share it are named together."""
    rules: dict[str, list[str]] = {}
    for item in spec.task.evals:
        rules.setdefault(_rule(item, spec), []).append(item.name)
    padded = ", padded on the left" if KINDS[spec.task.kind].padding_side == "left" else ""
    found = "; ".join(f"{', '.join(names)} by {rule}" for rule, names in rules.items())
    batches = f"batches of {spec.eval_batch_size}{padded}"
    return f"{found}; {batches if spec.eval.backend == 'transformers' else 'decoded by vLLM'}"


NATS = "log_likelihood (hundredths of a nat, by token of a solution or of the right option among all)"


def _pixels(image: ImageSpec) -> str:
    mean, std = ("/".join(f"{value:g}" for value in values) for values in (image.mean, image.std))
    return f"images of {image.size} x {image.size} ({image.backend}, {image.resample}), mean {mean}, deviation {std}"


def _prompt(prompt: PromptSpec) -> list[str]:
    found = [f"template {prompt.train}", f"loss on the {prompt.loss_on}", f"cut at {prompt.max_length:,} tokens"]
    return [*found, "packed"] if prompt.packing else found


def _threshold(spec: RunSpec) -> str:
    """How it is decided that a question has no answer; the best_ metrics say so by their name."""
    aside = has_validation(spec.task) and spec.score_on == "reported"
    chosen = "of the most exact matches on rows set aside from training" if aside else "0"
    return f"no answer above a threshold {chosen}, for best_ metrics that of the scored rows (optimistic)"


def _rule(item: EvalSpec, spec: RunSpec) -> str:
    metrics = " and ".join(NATS if metric == "log_likelihood" else metric for metric in item.metrics)
    if (span := spec.task.span) is not None:
        how = f"the likeliest span of at most {span.max_answer} tokens, its ends among {span.n_best} of a window"
        return f"{metrics} of {how}" + (f", {_threshold(spec)}" if span.no_answer else "")
    if item.by_overlap:
        assert item.generation is not None
        return f"{metrics} of text written {_search(item.generation)}"
    if spec.task.prompt is None:
        return metrics
    template = f"template {spec.task.prompt.evaluation}"
    if item.by_token:
        return f"{metrics}, each token of the reference solution after the true ones before it, {template}"
    if item.generation is None:
        which = "the likeliest" if "accuracy" in item.metrics else "each"
        return f"{metrics} of {which} option after '{item.likelihood}', {template}"
    return f"{metrics} of answer rule {item.answer} on text generated {_search(item.generation)}, {template}"


def _search(generation: GenerationSpec) -> str:
    """How a text is written, with what is not as usual."""
    search = "greedily" if generation.num_beams == 1 else f"with {generation.num_beams} beams"
    stops = [f"stopped at {', '.join(generation.stop)}"] if generation.stop else []
    rules = {name: getattr(generation, name) for name in sorted(generation.younger)}
    other = [f"{name}={value}" for name, value in rules.items() if value != type(generation).model_fields[name].default]
    return ", ".join([search, f"at most {generation.max_new_tokens:,} tokens", *stops, *other])
