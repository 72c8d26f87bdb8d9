"""What to say about keys that older recipes and other projects use, and about upstream keys that this project sets."""

from __future__ import annotations

from typing import Final


def _by_key(said: dict[str, str]) -> dict[str, str]:
    return {key: message for keys, message in said.items() for key in keys.split()}


# Old or foreign names -> what to write instead. Consulted for every key that is not a key of its section.
RENAMED: Final = _by_key(
    {
        "evaluation_strategy": "was renamed to eval_strategy in transformers 5",
        "gradient_checkpointing": "was renamed to activation_checkpointing in transformers 5",
        "gradient_checkpointing_kwargs": "was renamed to activation_checkpointing_kwargs in transformers 5",
        "warmup_ratio": "was removed in transformers 5; write training.warmup_steps (a number below 1 is a ratio)",
        "no_cuda": "was renamed to use_cpu in transformers 5",
        "use_mps_device": "was removed in transformers 5; the device is found by itself",
        "per_gpu_train_batch_size": "was renamed to per_device_train_batch_size",
        "per_gpu_eval_batch_size": "was renamed to per_device_eval_batch_size",
        "adafactor": "was removed in transformers 5; write training.optim: adafactor",
        "group_by_length": "was removed in transformers 5; write training.length_grouping",
        "overwrite_output_dir": (
            "was removed in transformers 5; the command-line flag --overwrite replaces a finished run"
        ),
        "save_safetensors": "was removed in transformers 5; weights are always saved as safetensors",
        "logging_dir": "was removed in transformers 5; set the environment variable TENSORBOARD_LOGGING_DIR",
        "include_inputs_for_metrics": "was removed in transformers 5; predictions are saved with their texts anyway",
        "fp16_backend": "was removed in transformers 5; write training.fp16",
        "half_precision_backend": "was removed in transformers 5; write training.fp16 or training.bf16",
        "trust_remote_code": "is a command-line flag, never a recipe key; pass --trust-remote-code",
        "torch_dtype": "was renamed to dtype in transformers 5; write model.dtype",
        "max_seq_length": "is now max_length; write model.max_length",
        "model_max_length": "is set by model.max_length",
        "model_name_or_path model_name": "is set by model.name_or_path",
        "model_revision": "is set by model.revision",
        "tokenizer tokenizer_name tokenizer_name_or_path processing_class": (
            "is not set apart: the tokenizer is that of model.name_or_path"
        ),
        "use_flash_attention_2": "was removed; write model.attn_implementation: flash_attention_2",
        "attention": "is set by model.attn_implementation",
        "num_labels id2label label2id": "follows from labels.names",
        "problem_type": "follows from labels.task",
        "use_peft": "is not needed: an adapter section with its type is enough",
        "peft": "is the section adapter, with its type",
        "lora": "is written as adapter.type: lora",
        "lora_r lora_rank": "is set by adapter.r",
        "lora_target_modules": "is set by adapter.target_modules",
        "lora_modules_to_save": "is set by adapter.modules_to_save",
        "peft_type": "is set by adapter.type",
        "use_dora": "is written as adapter.type: dora",
        "use_rslora": "is written as adapter.type: rslora",
        "use_bnb_nested_quant": "is set by quantization.bnb_4bit_use_double_quant",
        "dataset dataset_name": "is set by data.source",
        "dataset_config_name": "is set by data.subset",
        "train_file": "is set by data.source.train",
        "validation_file": "is set by data.source.validation",
        "test_file": "is set by data.source.test",
        "test_size": "is set by data.splits.test",
        "text_column text_column_name": "is set by data.columns.text",
        "label_column label_column_name": "is set by data.columns.label",
        "epochs": "is set by training.num_train_epochs",
        "lr": "is set by training.learning_rate",
        "label_smoothing": "is set by training.label_smoothing_factor",
        "early_stopping_patience": "is set by training.early_stopping.patience",
        "early_stopping_threshold": "is set by training.early_stopping.threshold",
    }
)

# The same, where the name means something else in another section.
RENAMED_IN: Final[dict[str, dict[str, str]]] = {
    "evaluation": {"majority": "is one of evaluation.baselines; write baselines: [] for none"},
    "training": {
        "batch_size": "is set by training.per_device_train_batch_size",
        "max_length": "is set by model.max_length",
        "dtype": "is set by model.dtype (weights), training.bf16 or training.fp16 (mixed precision)",
    },
}

# Keys of the upstream class that are not the recipe's to set -> why, by section.
OWNED: Final = {
    "training": _by_key(
        {
            "output_dir": "is a key of the recipe itself; write output_dir at the top level",
            "seed": "is a key of the recipe itself; write seed at the top level",
            "data_seed": "follows from the seed at the top level",
            "do_train do_eval do_predict": "is not used: the script trains and evaluates",
            "resume_from_checkpoint": "is the command-line flag --resume (or training.resume: auto)",
            "ignore_data_skip": "is not used: a resumed run sees the rows that it did not see before",
            "enable_jit_checkpoint": "is always on: a run that is told to stop (SIGTERM, SIGUSR1) saves behind its "
            "step and ends with exit status 75; continue it with --resume",
            "restore_callback_states_from_checkpoint": "is always on, so that a resumed run remembers its patience",
            "push_to_hub hub_token hub_private_repo hub_model_id hub_strategy hub_always_push hub_revision": (
                "is not part of training: a finished run is published as a whole"
            ),
            "remove_unused_columns": "is set by the project; columns are chosen by data.columns",
            "label_names": "is set by the project; labels are declared by labels.names",
            "train_sampling_strategy": "is set by training.length_grouping",
            "length_column_name": "is set by the project; see training.length_grouping",
            "dataloader_drop_last": "is not used: every epoch sees every row once",
            "accelerator_config parallelism_config deepspeed fsdp fsdp_config local_rank": (
                "is set by accelerate launch; choose a file of accelerate_configs/ with --config_file"
            ),
            "auto_find_batch_size": "is not used: a batch that does not fit is halved and the accumulation doubled, by "
            "itself; upstream would halve the step",
            "dataloader_in_order": "is always on: the rows of a step depend on the order of its batches",
            "average_tokens_across_devices": (
                "is always so: a loss is divided by the weight of its step over all processes"
            ),
            "bf16_full_eval fp16_full_eval": "is not used: validation during training computes as the training does; "
            "predictions compute in prediction.dtype",
            "eval_accumulation_steps": "is not used: predictions leave the GPU after each batch",
            "use_cache": "is set by the project: training has no use for cached keys and values",
            "disable_tqdm": "is not used: progress is printed as plain lines",
            "prediction_loss_only eval_do_concat_batches eval_use_gather_object include_for_metrics "
            "batch_eval_metrics": "is not used: the project computes its own measures on whole splits",
            "truncation_mode": "is not used: a row's text is shortened, see model.max_length",
            "packing packing_strategy eval_packing padding_free dataset_text_field dataset_kwargs "
            "dataset_num_proc shuffle_dataset chat_template_path eos_token pad_token": (
                "is set by the project, which renders and tokenizes rows by the prompt section"
            ),
            "completion_only_loss assistant_only_loss": "is always on: the loss is on the answer alone",
            "loss_type router_aux_loss_coef": "is not used: the loss is the negative log-likelihood of the answer",
            "model_init_kwargs": "is set by the model section",
            "pad_to_multiple_of": "is set by the project: batches are padded to what the hardware likes",
        }
    ),
    "adapter": _by_key(
        {
            "task_type inference_mode auto_mapping peft_version runtime_config token_dim "
            "num_transformer_submodules num_attention_heads num_layers fan_in_fan_out": (
                "is set by the project from the task and the model"
            ),
            "base_model_name_or_path": "is set by model.name_or_path",
            "revision": "is set by model.revision",
            "tokenizer_kwargs": "is not set apart: the tokenizer is that of model.name_or_path",
            "megatron_config megatron_core": "is for models of Megatron, which are not loaded here",
            "eva_config corda_config lora_ga_config": (
                "is for an initialisation that needs a pass over the training data, which is not made here"
            ),
            "loftq_config": "is for an initialisation that stores a quantized base; write quantization.load_in_4bit",
            "arrow_config": "joins several trained adapters, of which a run has one",
            "kasa_config monteclora_config": "needs a term of its own in the loss, which is not added here",
            "velora_config": "keeps a projection that no checkpoint holds, so that a resumed run would be another",
            "use_qalora qalora_group_size": (
                "is for weights quantized by GPTQ; the quantization section is bitsandbytes'"
            ),
            "alora_invocation_tokens": "switches the adapter on behind a phrase; labels are scored behind a stored "
            "prefix, where the phrase is not seen",
            "layer_replication": "repeats layers of the base, for which cached keys and saved weights have no place",
        }
    ),
    "quantization": _by_key(
        {
            "llm_int8_enable_fp32_cpu_offload": "is not used: the whole model is on one device",
            "llm_int8_has_fp16_weight": "keeps the weights whole and saves no memory; remove the quantization section",
        }
    ),
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
