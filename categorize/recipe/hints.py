"""What to say about keys that older recipes and other projects use, and about upstream keys that this project sets."""

from __future__ import annotations

from typing import Final

_TRANSFORMERS_5 = "in transformers 5"

# Old or foreign name -> what to write instead. Consulted for every key that is not a key of its section.
RENAMED: Final[dict[str, str]] = {
    "evaluation_strategy": f"was renamed to eval_strategy {_TRANSFORMERS_5}",
    "gradient_checkpointing": f"was renamed to activation_checkpointing {_TRANSFORMERS_5}",
    "gradient_checkpointing_kwargs": f"was renamed to activation_checkpointing_kwargs {_TRANSFORMERS_5}",
    "warmup_ratio": f"was removed {_TRANSFORMERS_5}; write training.warmup_steps (a number below 1 is a ratio)",
    "no_cuda": f"was renamed to use_cpu {_TRANSFORMERS_5}",
    "use_mps_device": f"was removed {_TRANSFORMERS_5}; the device is found by itself",
    "per_gpu_train_batch_size": "was renamed to per_device_train_batch_size",
    "per_gpu_eval_batch_size": "was renamed to per_device_eval_batch_size",
    "adafactor": f"was removed {_TRANSFORMERS_5}; write training.optim: adafactor",
    "group_by_length": f"was removed {_TRANSFORMERS_5}; write training.length_grouping",
    "overwrite_output_dir": f"was removed {_TRANSFORMERS_5}; the command-line flag --overwrite replaces a finished run",
    "save_safetensors": f"was removed {_TRANSFORMERS_5}; weights are always saved as safetensors",
    "logging_dir": f"was removed {_TRANSFORMERS_5}; set the environment variable TENSORBOARD_LOGGING_DIR",
    "include_inputs_for_metrics": f"was removed {_TRANSFORMERS_5}; predictions are saved with their texts anyway",
    "fp16_backend": f"was removed {_TRANSFORMERS_5}; write training.fp16",
    "half_precision_backend": f"was removed {_TRANSFORMERS_5}; write training.fp16 or training.bf16",
    "trust_remote_code": "is a command-line flag, never a recipe key; pass --trust-remote-code",
    "torch_dtype": f"was renamed to dtype {_TRANSFORMERS_5}; write model.dtype",
    "max_seq_length": "is now max_length; write model.max_length",
    "model_max_length": "is set by model.max_length",
    "model_name_or_path": "is set by model.name_or_path",
    "model_name": "is set by model.name_or_path",
    "model_revision": "is set by model.revision",
    "tokenizer": "is not set apart: the tokenizer is that of model.name_or_path",
    "tokenizer_name": "is not set apart: the tokenizer is that of model.name_or_path",
    "tokenizer_name_or_path": "is not set apart: the tokenizer is that of model.name_or_path",
    "processing_class": "is not set apart: the tokenizer is that of model.name_or_path",
    "use_flash_attention_2": "was removed; write model.attn_implementation: flash_attention_2",
    "attention": "is set by model.attn_implementation",
    "num_labels": "follows from labels.names",
    "id2label": "follows from labels.names",
    "label2id": "follows from labels.names",
    "problem_type": "follows from labels.task",
    "use_peft": "is not needed: an adapter section with its type is enough",
    "peft": "is the section adapter, with its type",
    "lora": "is written as adapter.type: lora",
    "lora_r": "is set by adapter.r",
    "lora_rank": "is set by adapter.r",
    "lora_target_modules": "is set by adapter.target_modules",
    "lora_modules_to_save": "is set by adapter.modules_to_save",
    "peft_type": "is set by adapter.type",
    "use_dora": "is written as adapter.type: dora",
    "use_rslora": "is written as adapter.type: rslora",
    "use_bnb_nested_quant": "is set by quantization.bnb_4bit_use_double_quant",
    "dataset": "is set by data.source",
    "dataset_name": "is set by data.source",
    "dataset_config_name": "is set by data.subset",
    "train_file": "is set by data.source.train",
    "validation_file": "is set by data.source.validation",
    "test_file": "is set by data.source.test",
    "test_size": "is set by data.splits.test",
    "text_column": "is set by data.columns.text",
    "text_column_name": "is set by data.columns.text",
    "label_column": "is set by data.columns.label",
    "label_column_name": "is set by data.columns.label",
    "epochs": "is set by training.num_train_epochs",
    "lr": "is set by training.learning_rate",
    "label_smoothing": "is set by training.label_smoothing_factor",
    "early_stopping_patience": "is set by training.early_stopping.patience",
    "early_stopping_threshold": "is set by training.early_stopping.threshold",
}

# The same, where the name means something else in another section.
RENAMED_IN: Final[dict[str, dict[str, str]]] = {
    "training": {
        "batch_size": "is set by training.per_device_train_batch_size",
        "max_length": "is set by model.max_length",
        "dtype": "is set by model.dtype (weights), training.bf16 or training.fp16 (mixed precision)",
    },
}

_PROMPTS = "is set by the project, which renders and tokenizes rows by the prompt section"
_PUBLISHING = "is not part of training: a finished run is published as a whole"
_LAUNCH = "is set by accelerate launch; choose a file of accelerate_configs/ with --config_file"
_MEASURES = "is not used: the project computes its own measures on whole splits"
_FULL_EVAL = (
    "is not used: validation during training computes as the training does; predictions compute in prediction.dtype"
)
_EVERY_ROW = "is not used: every epoch sees every row once"
_MEGATRON = "is for models of Megatron, which are not loaded here"
_NEEDS_DATA = "is for an initialisation that needs a pass over the training data, which is not made here"
_NEEDS_LOSS = "needs a term of its own in the loss, which is not added here"
_GPTQ = "is for weights quantized by GPTQ; the quantization section is bitsandbytes'"
_PEFT_OWN = "is set by the project from the task and the model"

# Keys of the upstream class that the project sets, by section.
OWNED: Final[dict[str, dict[str, str]]] = {
    "training": {
        "output_dir": "is a key of the recipe itself; write output_dir at the top level",
        "seed": "is a key of the recipe itself; write seed at the top level",
        "data_seed": "follows from the seed at the top level",
        "do_train": "is not used: the script trains and evaluates",
        "do_eval": "is not used: the script trains and evaluates",
        "do_predict": "is not used: the script trains and evaluates",
        "resume_from_checkpoint": "is the command-line flag --resume (or training.resume: auto)",
        "ignore_data_skip": "is not used: a resumed run sees the rows that it has not seen",
        "enable_jit_checkpoint": "is always on: a run that is told to stop (SIGTERM, SIGUSR1) saves behind its step "
        "and ends with exit status 75; continue it with --resume",
        "restore_callback_states_from_checkpoint": "is always on, so that a resumed run remembers its patience",
        "push_to_hub": _PUBLISHING,
        "hub_token": _PUBLISHING,
        "hub_private_repo": _PUBLISHING,
        "hub_model_id": _PUBLISHING,
        "hub_strategy": _PUBLISHING,
        "hub_always_push": _PUBLISHING,
        "hub_revision": _PUBLISHING,
        "remove_unused_columns": "is set by the project; columns are chosen by data.columns",
        "label_names": "is set by the project; labels are declared by labels.names",
        "train_sampling_strategy": "is set by training.length_grouping",
        "length_column_name": "is set by the project; see training.length_grouping",
        "dataloader_drop_last": _EVERY_ROW,
        "accelerator_config": _LAUNCH,
        "parallelism_config": _LAUNCH,
        "deepspeed": _LAUNCH,
        "fsdp": _LAUNCH,
        "fsdp_config": _LAUNCH,
        "local_rank": _LAUNCH,
        "dataloader_in_order": "is always on: the rows of a step depend on the order of its batches",
        "average_tokens_across_devices": "is always so: a loss is divided by the weight of its step over all processes",
        "bf16_full_eval": _FULL_EVAL,
        "fp16_full_eval": _FULL_EVAL,
        "eval_accumulation_steps": "is not used: predictions leave the GPU after each batch",
        "use_cache": "is set by the project: training has no use for cached keys and values",
        "disable_tqdm": "is not used: progress is printed as plain lines",
        "prediction_loss_only": _MEASURES,
        "eval_do_concat_batches": _MEASURES,
        "eval_use_gather_object": _MEASURES,
        "include_for_metrics": _MEASURES,
        "batch_eval_metrics": _MEASURES,
        "truncation_mode": "is not used: a row's text is shortened, see model.max_length",
        "packing": _PROMPTS,
        "packing_strategy": _PROMPTS,
        "eval_packing": _PROMPTS,
        "padding_free": _PROMPTS,
        "completion_only_loss": "is always on: the loss is on the answer alone",
        "assistant_only_loss": "is always on: the loss is on the answer alone",
        "loss_type": "is not used: the loss is the negative log-likelihood of the answer",
        "dataset_text_field": _PROMPTS,
        "dataset_kwargs": _PROMPTS,
        "dataset_num_proc": _PROMPTS,
        "shuffle_dataset": _PROMPTS,
        "chat_template_path": _PROMPTS,
        "eos_token": _PROMPTS,
        "pad_token": _PROMPTS,
        "model_init_kwargs": "is set by the model section",
        "pad_to_multiple_of": "is set by the project: batches are padded to what the hardware likes",
        "router_aux_loss_coef": "is not used: the loss is the negative log-likelihood of the answer",
    },
    "adapter": {
        "task_type": _PEFT_OWN,
        "inference_mode": _PEFT_OWN,
        "auto_mapping": _PEFT_OWN,
        "peft_version": _PEFT_OWN,
        "runtime_config": _PEFT_OWN,
        "base_model_name_or_path": "is set by model.name_or_path",
        "revision": "is set by model.revision",
        "token_dim": _PEFT_OWN,
        "num_transformer_submodules": _PEFT_OWN,
        "num_attention_heads": _PEFT_OWN,
        "num_layers": _PEFT_OWN,
        "fan_in_fan_out": _PEFT_OWN,
        "tokenizer_kwargs": "is not set apart: the tokenizer is that of model.name_or_path",
        "megatron_config": _MEGATRON,
        "megatron_core": _MEGATRON,
        "eva_config": _NEEDS_DATA,
        "corda_config": _NEEDS_DATA,
        "lora_ga_config": _NEEDS_DATA,
        "loftq_config": "is for an initialisation that stores a quantized base; write quantization.load_in_4bit",
        "arrow_config": "joins several trained adapters, of which a run has one",
        "kasa_config": _NEEDS_LOSS,
        "monteclora_config": _NEEDS_LOSS,
        "velora_config": "keeps a projection that no checkpoint holds, so that a resumed run would be another",
        "use_qalora": _GPTQ,
        "qalora_group_size": _GPTQ,
        "alora_invocation_tokens": "switches the adapter on behind a phrase; labels are scored behind a stored prefix, "
        "where the phrase is not seen",
        "layer_replication": "repeats layers of the base, for which cached keys and saved weights have no place",
    },
    "quantization": {
        "llm_int8_enable_fp32_cpu_offload": "is not used: the whole model is on one device",
        "llm_int8_has_fp16_weight": "keeps the weights whole and saves no memory; remove the quantization section",
    },
}

# Said of a required key that is not there, beside its description.
MISSING: Final[dict[str, str]] = {
    "adapter.type": "is missing; without it the run would be a full fine-tune",
}


def renamed(section: str, key: str) -> str | None:
    """What replaced an old or foreign key, or None."""
    return RENAMED_IN.get(section, {}).get(key) or RENAMED.get(key)


def owned(section: str, key: str) -> str | None:
    """Why an upstream key is not the recipe's to set, or None where it is."""
    return OWNED.get(section, {}).get(key) or renamed(section, key)
