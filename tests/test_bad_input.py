"""Wrong input, through the real commands: one sentence with the remedy, exit code 1.

CASES is the table. A case's arguments name things of the `world` fixture in braces;
{out} is a place of its own where nothing may be left behind.
"""

import json
import os
import shutil
import socket

import forking
import numpy as np
import pytest
import tensorflow.compat.v1 as tf
import tiny
from PIL import Image
from tensorflow import keras
from wrong_input import MAIN
from wrong_input import WRONG_FLAG
from wrong_input import Case
from wrong_input import check
from wrong_input import training as _main

from compare_gan_logits import classifiers
from compare_gan_logits import files
from compare_gan_logits import images as image_lib


# TensorFlow after 2.15 cannot train on a TPU this way.
_TPU = (
  ("no TPU 'nowhere'", "--use_tpu")
  if tf.__version__.startswith("2.15.")
  else ("--use_tpu needs TensorFlow 2.15",)
)
SIZE = 16
LOGITS = 4
_RECONSTRUCT = "--images {photos}/good.png --output {out} --module "
_PHOTO = "--module {module} --output {out} --images "
_TWO = "--module {module} --module {module}"
_HUB = "classifier.handle='https://tfhub.invalid/some/module/1'"

CASES = (
  # The main program: flags and gin files.
  Case("no_config", MAIN, "--model_dir {out}", ("--gin_config", "quickstart.gin")),
  Case("stray_word", MAIN, "train --gin_config {gin}", ("'train'", "--help")),
  Case(
    "config_missing",
    MAIN,
    "--gin_config {world}/no.gin --model_dir {out}",
    ("no.gin", "gin_configs/"),
  ),
  Case(
    "config_is_folder", MAIN, "--gin_config {empty} --model_dir {out}", ("{empty}",)
  ),
  Case(
    "config_is_picture",
    MAIN,
    "--gin_config {photos}/good.png --model_dir {out}",
    ("good.png",),
  ),
  Case(
    "config_syntax",
    MAIN,
    "--gin_config {broken_gin} --model_dir {out}",
    ("broken.gin",),
  ),
  Case(
    "config_bracket",
    MAIN,
    "--gin_config {bracket_gin} --model_dir {out}",
    ("bracket.gin", "not closed"),
  ),
  Case(
    "config_includes_itself",
    MAIN,
    "--gin_config {gins}/self.gin --model_dir {out}",
    ("includes itself",),
  ),
  Case(
    "config_imports_nothing",
    MAIN,
    "--gin_config {gins}/import.gin --model_dir {out}",
    ("no_such", "remove"),
  ),
  Case(
    "config_nested",
    MAIN,
    "--gin_config {gins}/nested.gin --model_dir {out}",
    ("nested",),
  ),
  Case(
    "config_utf16",
    MAIN,
    "--gin_config {gins}/utf16.gin --model_dir {out}",
    ("utf16.gin", "binary"),
  ),
  Case(
    "model_dir_is_file",
    MAIN,
    "--gin_config {gin} --model_dir {photos}/good.png "
    "--gin_bindings classifier.handle='embedded_standard'",
    ("good.png", "folder"),
  ),
  Case("unknown_flag", MAIN, "--gin_confg {gin}", ("gin_confg", "--help"), WRONG_FLAG),
  Case(
    "unknown_schedule",
    MAIN,
    "--gin_config {gin} --schedule trian",
    ("--schedule", "train"),
    WRONG_FLAG,
  ),
  Case(
    "flag_of_wrong_type",
    MAIN,
    "--gin_config {gin} --eval_every_steps often",
    ("eval_every_steps", "often"),
    WRONG_FLAG,
  ),
  Case(
    "negative_flag",
    MAIN,
    "--gin_config {gin} --eval_every_steps -5",
    ("eval_every_steps",),
    WRONG_FLAG,
  ),
  # ... bindings.
  _main(
    "gin_unknown_name", "ModularGN.g_lr=0.1", "'ModularGN'", "did you mean 'ModularGAN'"
  ),
  _main(
    "gin_unknown_parameter",
    "options.batch_sise=8",
    "batch_sise",
    "did you mean 'batch_size'",
  ),
  _main(
    "gin_unknown_classifier_parameter",
    "classifier.handel='x'",
    "handel",
    "did you mean 'handle'",
  ),
  _main("gin_syntax", "options.batch_size=", "--gin_bindings", "gin_configs/"),
  _main(
    "gin_unknown_reference",
    "options.gan_class=@ModularGAM",
    "'ModularGAM'",
    "did you mean 'ModularGAN'",
  ),
  _main(
    "gin_string_for_number",
    "options.batch_size='many'",
    "options.batch_size",
    "positive integer",
  ),
  _main("gin_float_for_integer", "options.z_dim=3.5", "options.z_dim", "whole number"),
  _main("batch_negative", "options.batch_size=-16", "options.batch_size", "-16"),
  _main("batch_true", "options.batch_size=True", "options.batch_size", "True"),
  _main("batch_list", "options.batch_size=[4,4]", "options.batch_size", "[4, 4]"),
  _main(
    "batch_beyond_counting",
    "options.batch_size=2000000000",
    "options.batch_size",
    "smaller",
  ),
  _main(
    "z_dim_beyond_counting", "options.z_dim=4000000000", "options.z_dim", "2147483647"
  ),
  _main("width_zero", "resnet_biggan.Generator.ch=0", "Generator.ch", "from 1"),
  _main("width_fraction", "resnet_biggan.Generator.ch=1.5", "Generator.ch", "whole"),
  _main("rate_negative", "ModularGAN.g_lr=-1.0", "ModularGAN.g_lr", "not negative"),
  _main("rate_infinite", "ModularGAN.g_lr=1e400", "ModularGAN.g_lr", "finite"),
  _main("rate_list", "ModularGAN.d_lr=[1,2]", "ModularGAN.d_lr", "a number"),
  _main("average_beyond_one", "ModularGAN.ema_decay=2.0", "ema_decay", "0 to 1"),
  _main("optimizer_is_text", "ModularGAN.d_optimizer_fn='adam'", "d_optimizer_fn", "@"),
  _main("loss_is_text", "loss.fn='hinge'", "loss.fn", "@"),
  _main("architecture_none", "options.architecture=None", "None", "resnet_biggan_arch"),
  _main(
    "checkpoints_never",
    "run_config.save_checkpoints_steps=0",
    "save_checkpoints_steps",
    "from 1",
  ),
  _main(
    "checkpoints_between",
    "run_config.save_checkpoints_steps=2.5",
    "save_checkpoints_steps",
    "whole",
  ),
  _main(
    "checkpoints_kept_negative",
    "run_config.keep_checkpoint_max=-1",
    "keep_checkpoint_max",
    "from 0",
  ),
  _main("summaries_never", "run_config.save_summary_steps=0", "save_summary_steps"),
  _main("seed_negative", "run_config.tf_random_seed=-1", "tf_random_seed", "from 0"),
  _main("seed_text", "run_config.tf_random_seed='a'", "tf_random_seed", "whole"),
  _main("minutes_text", "run_config.training_minutes='x'", "training_minutes"),
  _main("standing_none", "export.standing_images=0", "standing_images", "from 1"),
  _main("evaluated_none", "evaluation.num_images=-5", "num_images", "from 1"),
  _main("steps_zero", "options.training_steps=0", "options.training_steps"),
  _main(
    "gan_class_is_text",
    "options.gan_class='ModularGAN'",
    "options.gan_class",
    "@ModularGAN",
  ),
  _main(
    "architecture_unknown",
    "options.architecture='resnet_bigan_arch'",
    "did you mean 'resnet_biggan_arch'",
  ),
  _main("z_dim_not_divisible", "options.z_dim=31", "z_dim", "31"),
  _main("rate_is_text", "ModularGAN.g_lr='fast'", "ModularGAN.g_lr", "'fast'"),
  _main(
    "not_conditional",
    "ModularGAN.conditional=False; ModularGAN.g_inputs=[];ModularGAN.d_inputs=[]",
    "ModularGAN.conditional is False",
    "set it to True",
  ),
  _main("compute_type", "compute.dtype='float8'", "bfloat16"),
  _main("initializer", "weights.initializer='zeros'", "orthogonal"),
  _main(
    "export_untrained",
    "options.batch_size=8",
    "no checkpoint",
    "--schedule train",
    flags="--schedule export",
  ),
  _main(
    "tpu_unreachable",
    "options.batch_size=8",
    *_TPU,
    flags="--use_tpu --tpu nowhere",
  ),
  # ... data sets.
  _main("dataset_unknown", "dataset.name='imagenet_65'", "did you mean 'imagenet_64'"),
  _main("dataset_not_text", "dataset.name=5", "dataset.name", "5"),
  _main(
    "dataset_not_prepared",
    "dataset.name='cifar10'",
    "not prepared",
    "tfds.load('cifar10', data_dir=",
    "--tfds_data_dir",
    flags="--tfds_data_dir {empty}",
  ),
  _main(
    "dataset_folder_missing", "dataset.name='{world}/gone@32'", "does not exist", "gone"
  ),
  _main(
    "dataset_folder_without_size",
    "dataset.name='{photos}'",
    "size of the images",
    "@64",
  ),
  _main(
    "dataset_folder_empty",
    "dataset.name='{empty}@32'",
    "no images in",
    "train and validation",
  ),
  _main("dataset_size_zero", "dataset.name='{set}@0'", "@0", "@64"),
  _main("dataset_size_odd", "dataset.name='{set}@37'", "37"),
  _main("dataset_size_huge", "dataset.name='{set}@100000'", "100000", "4096"),
  _main("dataset_seed_negative", "dataset.seed=-1", "dataset.seed", "from 0"),
  _main("dataset_fake_empty", "dataset.name='fake:0@32'", "fake:0@32", "100,000"),
  _main(
    "dataset_table_columns",
    "dataset.name='{table_set}@32'",
    "classes.tsv",
    "imagenet_index",
  ),
  _main(
    "dataset_table_binary",
    "dataset.name='{binary_table_set}@32'",
    "classes.tsv",
    "damaged",
  ),
  _main(
    "dataset_colors",
    "dataset.name='{set}@32'; dataset.colors=4",
    "dataset.colors",
    "1 or 3",
  ),
  _main(
    "dataset_validation_class_unknown",
    "dataset.name='{bad_set}@32'",
    "birds",
    "none for training",
  ),
  _main("dataset_bad_tar", "dataset.name='{tar_set}@32'", "train.tar", "make it again"),
  _main("dataset_fake_name", "dataset.name='fake:ten@32'", "fake:1000@64"),
  # ... classifiers.
  _main(
    "classifier_unknown",
    "classifier.handle='embedded_standrd'",
    "did you mean 'embedded_standard'",
  ),
  _main(
    "classifier_folder_without_model", "classifier.handle='{empty}'", "saved_model.pb"
  ),
  _main("classifier_is_a_picture", "classifier.handle='{photos}/good.png'", "good.png"),
  _main("classifier_not_text", "classifier.handle=17", "classifier.handle", "17"),
  _main(
    "classifier_damaged",
    "classifier.handle='{damaged_classifier}'",
    "saved_model.pb is damaged",
    "copy it again",
  ),
  _main(
    "classifier_unreachable", _HUB, "cannot fetch", "classifier.path", "TFHUB_CACHE_DIR"
  ),
  _main(
    "zoo_unreachable",
    "classifier.handle='robust_resnet152'",
    "cannot fetch",
    "classifier.path",
  ),
  _main("keras_with_code", "classifier.handle='{bad}/code.h5'", "code.h5", "lambda"),
  _main(
    "keras_unknown",
    "classifier.handle='keras:ResNet151'",
    "ResNet151",
    "did you mean 'ResNet152'",
  ),
  _main(
    "classifier_signature",
    "classifier.signature='defalt'",
    "no signature",
    "did you mean 'default'",
  ),
  _main("classifier_input", "classifier.input_name='x'", "no input 'x'", "images"),
  _main("classifier_output", "classifier.output='z'", "no output 'z'", "logits"),
  _main("classifier_size", "classifier.size=31", "32 px, not 31"),
  _main("classifier_resize", "classifier.resize='bilinaer'", "did you mean 'bilinear'"),
  _main(
    "classifier_drop_column", "classifier.drop_column=1000", "classifier.drop_column"
  ),
  _main(
    "classifier_cache_dir_number",
    "classifier.cache_dir=5",
    "classifier.cache_dir",
    "string in quotes",
  ),
  _main("classifier_size_negative", "classifier.size=-1", "classifier.size", "from 1"),
  _main(
    "classifier_description",
    "classifier.handle='{classifier_json}'",
    "classifier.json is damaged",
    "copy it again",
  ),
  _main("classifier_digest", f"classifier.digest='{'0' * 64}'", "digest", "trust"),
  _main(
    "cache_missing",
    "classifier.cache_dir='{empty}'",
    "no logit cache",
    "compare-gan-logits cache-logits",
  ),
  _main(
    "cache_damaged",
    "classifier.cache_dir='{cache_list}'",
    "manifest.json is damaged",
    "compare-gan-logits cache-logits",
  ),
  _main(
    "cache_of_another",
    "classifier.cache_dir='{cache}'",
    "classifier",
    "compare-gan-logits cache-logits",
  ),
  # Reconstruction: modules.
  Case("no_images", "reconstruct", "--module {module}", ("--images",)),
  Case(
    "module_missing",
    "reconstruct",
    _RECONSTRUCT + "{world}/gone",
    ("inversion.json", "--schedule=export"),
  ),
  Case(
    "module_is_file",
    "reconstruct",
    _RECONSTRUCT + "{photos}/good.png",
    ("good.png", "inversion.json"),
  ),
  Case(
    "module_json_broken",
    "reconstruct",
    _RECONSTRUCT + "{json_broken}",
    ("inversion.json is damaged",),
  ),
  Case(
    "module_json_list",
    "reconstruct",
    _RECONSTRUCT + "{json_list}",
    ("inversion.json is damaged", "export"),
  ),
  Case(
    "module_json_types",
    "reconstruct",
    _RECONSTRUCT + "{json_types}",
    ("inversion.json is damaged", "image_size"),
  ),
  *(
    Case(f"module_{name}", "reconstruct", _RECONSTRUCT + f"{{{name}}}", words)
    for name, words in (
      ("of_the_future", ("format 99", "export the module again")),
      ("size_of_another", ("64", "images of", "export")),
      ("class_names_short", ("class_names",)),
      ("class_names_numbers", ("class_names",)),
      ("classifier_nowhere", ("inversion.json is damaged (classifier)",)),
      ("classifier_output_list", ("description of a classifier is damaged",)),
      ("classifier_signature_dict", ("description of a classifier is damaged",)),
      ("classifier_steps_number", ("description of a classifier is damaged",)),
    )
  ),
  Case(
    "module_without_weights",
    "reconstruct",
    _RECONSTRUCT + "{no_weights}",
    ("no_weights/variables", "copy the whole module again"),
  ),
  Case(
    "module_with_empty_weights",
    "reconstruct",
    _RECONSTRUCT + "{empty_weights}",
    ("empty_weights", "damaged or incomplete", "export it again"),
  ),
  Case(
    "module_without_graph",
    "reconstruct",
    _RECONSTRUCT + "{no_graph}",
    ("saved_model.pb", "copy the module again"),
  ),
  Case(
    "module_logit_count",
    "reconstruct",
    _RECONSTRUCT + "{logit_count}",
    ("inversion.json", "logits", "copy or export"),
  ),
  Case(
    "module_without_signature",
    "reconstruct",
    _RECONSTRUCT + "{no_signature}",
    ("no signature 'generator'", "export it again"),
  ),
  Case(
    "module_without_classifier",
    "reconstruct",
    _RECONSTRUCT + "{no_classifier}",
    ("without a classifier",),
  ),
  Case(
    "module_classifier_gone",
    "reconstruct",
    _RECONSTRUCT + "{classifier_gone}",
    ("no classifier at", "gone"),
  ),
  Case(
    "module_classifier_changed",
    "reconstruct",
    _RECONSTRUCT + "{classifier_changed}",
    ("has changed", "digest"),
  ),
  Case(
    "classifier_logit_count",
    "reconstruct",
    _RECONSTRUCT + "{module} --classifier {classifier7}",
    ("has 7 logits", "inverts 4"),
  ),
  # ... images.
  Case(
    "glob_wrong",
    "reconstruct",
    _PHOTO + "{photos}/*.jpgg",
    ("no images at", "quoted glob"),
  ),
  Case("folder_empty", "reconstruct", _PHOTO + "{empty}", ("no images at",)),
  Case(
    "text_as_png",
    "reconstruct",
    _PHOTO + "{bad}/text.png",
    ("text.png cannot be read", "replace or remove"),
  ),
  Case(
    "empty_png",
    "reconstruct",
    _PHOTO + "{bad}/empty.png",
    ("empty.png cannot be read",),
  ),
  Case("cut_png", "reconstruct", _PHOTO + "{bad}/cut.png", ("cut.png cannot be read",)),
  Case(
    "cut_jpeg", "reconstruct", _PHOTO + "{bad}/cut.jpg", ("cut.jpg cannot be read",)
  ),
  Case(
    "page_as_jpg",
    "reconstruct",
    _PHOTO + "{bad}/page.jpg",
    ("page.jpg cannot be read",),
  ),
  Case(
    "picture_not_finite",
    "reconstruct",
    _PHOTO + "{bad}/nan.tiff",
    ("nan.tiff", "not finite"),
  ),
  Case(
    "pipe_among_pictures",
    "reconstruct",
    _PHOTO + "{pipe}",
    ("pipe.png", "no files"),
  ),
  Case(
    "picture_is_a_device",
    "reconstruct",
    _PHOTO + "{device}",
    ("zero.png", "no files"),
  ),
  Case(
    "bomb",
    "reconstruct",
    _PHOTO + "{bad}/bomb.png",
    ("bomb.png has more than 100 million pixels", "smaller"),
  ),
  Case(
    "samples_zero",
    "reconstruct",
    _PHOTO + "{photos} --samples 0",
    ("--samples",),
    WRONG_FLAG,
  ),
  Case(
    "samples_too_many",
    "reconstruct",
    _PHOTO + "{photos} --samples 1000000000",
    ("GB of pictures", "fewer --samples"),
  ),
  Case(
    "output_in_use",
    "reconstruct",
    "--module {module} --images {photos}/good.png --output {photos}",
    ("not empty", "another folder"),
  ),
  Case(
    "output_is_file",
    "reconstruct",
    "--module {module} --images {photos}/good.png --output {photos}/good.png",
    ("good.png", "folder"),
  ),
  # The logit cache.
  Case("cache_no_output", "cache_logits", "--gin_config {gin}", ("--output",)),
  Case(
    "cache_no_config", "cache_logits", "--output {out}", ("--dataset", "--gin_config")
  ),
  Case(
    "cache_no_shards",
    "cache_logits",
    "--output {out} --shards 0",
    ("--shards",),
    WRONG_FLAG,
  ),
  Case(
    "cache_batch_negative",
    "cache_logits",
    "--output {out} --batch_size -1",
    ("--batch_size",),
    WRONG_FLAG,
  ),
  Case(
    "cache_split",
    "cache_logits",
    "--output {out} --split tset",
    ("--split",),
    WRONG_FLAG,
  ),
  Case(
    "cache_of_another_kept",
    "cache_logits",
    "--gin_config {gin} --output {cache} "
    "--gin_bindings classifier.handle='embedded_standard'",
    ("was made with classifier", "another folder"),
  ),
  Case(
    "cache_dataset_unset",
    "cache_logits",
    "--output {out} --gin_bindings classifier.handle='embedded_standard'",
    ("`dataset`", "['name']", "--gin_bindings"),
  ),
  # Training and measuring classifiers.
  Case(
    "train_nothing_asked",
    "train_classifier",
    "--dataset embedded",
    ("--output", "--evaluate"),
  ),
  Case(
    "train_evaluate_robust",
    "train_classifier",
    "--evaluate embedded_standard --robust",
    ("--robust", "--evaluate"),
  ),
  Case(
    "train_limit",
    "train_classifier",
    "--output {out} --limit 100",
    ("--limit", "--output"),
  ),
  Case(
    "train_dataset",
    "train_classifier",
    "--dataset embeded --output {out}",
    ("did you mean 'embedded'",),
  ),
  Case(
    "train_init",
    "train_classifier",
    "--output {out} --init resnet50",
    ("resnet50", "efficientnet_lite0"),
  ),
  Case(
    "train_output_used",
    "train_classifier",
    "--output {photos}",
    ("not empty", "another folder"),
  ),
  Case(
    "train_attack_type",
    "train_classifier",
    "--output {out} --robust --gin_bindings attack.epsilon='big'",
    ("attack.epsilon",),
  ),
  Case(
    "train_batch_zero",
    "train_classifier",
    "--output {out} --gin_bindings train_classifier.batch_size=0",
    ("train_classifier.batch_size", "from 1"),
  ),
  Case(
    "train_attack_negative",
    "train_classifier",
    "--output {out} --robust --gin_bindings attack.epsilon=-0.1",
    ("attack.epsilon", "not negative"),
  ),
  Case(
    "train_method",
    "train_classifier",
    "--output {out} --robust --gin_bindings train_classifier.method='slow'",
    ("slow", "fast"),
  ),
  Case(
    "train_parameter",
    "train_classifier",
    "--output {out} --gin_bindings train_classifier.learning_rat=1",
    ("did you mean 'learning_rate'",),
  ),
  Case(
    "evaluate_unknown",
    "train_classifier",
    "--evaluate efficientnet_lite",
    ("did you mean 'efficientnet_lite0'",),
  ),
  Case(
    "evaluate_other_classes",
    "train_classifier",
    "--dataset embedded --evaluate {classifier7}",
    ("7", "10"),
  ),
  # The report.
  Case(
    "report_role",
    "reproduce",
    "--module {module} --role sturdy --output {out}",
    ("'standard' or 'robust'",),
  ),
  Case(
    "report_classifier_label",
    "reproduce",
    "--module a={module} --classifier b={classifier7} --output {out}",
    ("no module 'b'", "known: a"),
  ),
  Case(
    "report_judge_is_the_classifier",
    "reproduce",
    "--module {module} --judge {classifier} --dataset embedded --output {out}",
    ("--judge", "no independent one"),
  ),
  Case(
    "explorer_outer_url",
    "explore",
    "--module {module} --port 0 --outer_url hub.example",
    ("--outer_url", "https://"),
  ),
  Case(
    "reconstruct_select",
    "reconstruct",
    _PHOTO + "{photos} --module {module} --select psnr",
    ("--select",),
    WRONG_FLAG,
  ),
  Case("report_no_module", "reproduce", "--output {out}", ("--module",)),
  Case(
    "report_experiment",
    "reproduce",
    "--module {module} --only rotatoin --output {out}",
    ("did you mean 'rotation'",),
  ),
  Case(
    "report_dataset",
    "reproduce",
    "--module {module} --dataset embeded --output {out}",
    ("did you mean 'embedded'",),
  ),
  Case(
    "report_limit", "reproduce", "--module {module} --limit 1", ("--limit",), WRONG_FLAG
  ),
  Case(
    "report_outside",
    "reproduce",
    "--module {module} --dataset embedded --outside {world}/gone.png --output {out}",
    ("gone.png",),
  ),
  Case(
    "report_outside_idx",
    "reproduce",
    "--module {module} --dataset embedded --outside {bad}/text.gz --output {out}",
    ("text.gz is damaged",),
  ),
  Case(
    "report_setting",
    "reproduce",
    "--module {module} --dataset embedded "
    "--gin_bindings rotation.imags=3 --output {out}",
    ("imags", "did you mean 'images'"),
  ),
  Case(
    "report_setting_negative",
    "reproduce",
    "--module {module} --dataset embedded "
    "--gin_bindings rotation.images=-3 --output {out}",
    ("rotation.images", "from 1"),
  ),
  # The human study.
  Case("study_no_action", "two_afc", "", ("prepare, serve or analyse",)),
  Case(
    "study_one_module",
    "two_afc",
    "prepare --module {module} --output {out}",
    ("twice",),
  ),
  Case(
    "study_too_many_trials",
    "two_afc",
    "prepare " + _TWO + " --dataset embedded --trials 99999 --output {out}",
    ("lower --trials",),
  ),
  Case(
    "study_sizes_differ",
    "two_afc",
    "prepare --module {module} --module {grey} "
    "--dataset embedded --trials 4 --output {out}",
    ("one size",),
  ),
  Case(
    "study_missing", "two_afc", "serve --study {world}/gone", ("trials.json", "prepare")
  ),
  Case(
    "study_broken",
    "two_afc",
    "analyse --study {study_broken}",
    ("trials.json is damaged",),
  ),
  Case(
    "study_path",
    "two_afc",
    "serve --study {study_path} --port 0",
    ("trials.json is damaged", "prepare"),
  ),
  Case(
    "study_empty",
    "two_afc",
    "analyse --study {study_empty}",
    ("trials.json is damaged", "prepare"),
  ),
  Case(
    "study_answers_damaged",
    "two_afc",
    "analyse --study {study_answers}",
    ("answers.sqlite cannot be used",),
  ),
  Case(
    "study_nobody_answered",
    "two_afc",
    "analyse --study {study}",
    ("it has no answers yet", "serve"),
  ),
  Case(
    "study_flag_of_another",
    "two_afc",
    "serve --study {study} --trials 3",
    ("--trials is not for serve",),
  ),
  Case(
    "study_port_taken",
    "two_afc",
    "serve --study {study} --port {port}",
    ("cannot serve", "--port"),
  ),
  Case(
    "study_port_range",
    "two_afc",
    "serve --study {study} --port 99999",
    ("--port",),
    WRONG_FLAG,
  ),
  # The explorer.
  Case(
    "explorer_port_taken",
    "explore",
    "--module {module} --port {port}",
    ("cannot serve", "--port"),
  ),
  Case(
    "explorer_host",
    "explore",
    "--module {module} --host no.such.host.invalid",
    ("cannot serve", "--host"),
  ),
  Case(
    "view_missing", "explore", "--port 0 --open {world}/gone.json", ("cannot read",)
  ),
  Case("view_is_folder", "explore", "--port 0 --open {empty}", ("cannot read",)),
  Case(
    "view_broken", "explore", "--port 0 --open {bad}/view.json", ("not a saved view",)
  ),
  Case(
    "view_setting",
    "explore",
    "--port 0 --open {bad}/view_setting.json",
    ("did you mean 'shift'",),
  ),
  # The benchmark.
  Case("benchmark_config", "benchmark", "--gin_config {world}/no.gin", ("no.gin",)),
  Case("benchmark_no_config", "benchmark", "--part step", ("--gin_config",)),
  Case("benchmark_part", "benchmark", "--part speed", ("--part",), WRONG_FLAG),
  Case(
    "benchmark_size",
    "benchmark",
    "--part sizes --size 32x32",
    ("--size", "32x32", "32:32:32"),
  ),
  Case(
    "benchmark_module",
    "benchmark",
    "--part inference --module {empty}",
    ("inversion.json",),
  ),
  Case("benchmark_stray_word", "benchmark", "sizes", ("'sizes'", "--help")),
)

# Images that are legal: name, and the grey or colour that each becomes (RGB).
LEGAL = {
  "grey.png": (51, 51, 51),  # repeated to three channels
  "grey16.png": (51, 51, 51),  # 16 bits are scaled to 8
  "cmyk.jpg": (255, 0, 0),  # converted
  "palette.png": (0, 0, 255),
  "clear_palette.png": (255, 255, 255),
  "alpha.png": (255, 127, 127),  # half transparent red, on white
  "grey_alpha.png": (127, 127, 127),  # half transparent black, on white
  "one_bit.png": (255, 255, 255),
  "animated.gif": (0, 255, 0),  # the first frame
  "pixel.png": (10, 20, 30),  # 1 x 1
  "wide.png": (7, 8, 9),  # 20,000 x 4: its central square
  "turned.jpg": (200, 0, 0),  # EXIF orientation
  "fractions.tiff": (51, 51, 51),  # 32-bit numbers in [0, 1]
}


# What the cases name ------------------------------------------------------------


def _save(path, mode, size, color, **options):
  Image.new(mode, size, color).save(path, **options)


def _write_images(folder):
  """LEGAL, as files."""
  os.makedirs(folder)
  where = {name: os.path.join(folder, name) for name in LEGAL}
  _save(where["grey.png"], "L", (20, 30), 51)
  Image.fromarray(np.full([20, 20], 51 * 257, np.uint16)).save(where["grey16.png"])
  _save(where["cmyk.jpg"], "CMYK", (32, 32), (0, 255, 255, 0), quality=100)
  palette = Image.new("P", (16, 16), 1)
  palette.putpalette([0, 0, 0, 0, 0, 255])
  palette.save(where["palette.png"])
  palette.save(where["clear_palette.png"], transparency=1)
  _save(where["alpha.png"], "RGBA", (16, 16), (255, 0, 0, 128))
  _save(where["grey_alpha.png"], "LA", (16, 16), (0, 128))
  _save(where["one_bit.png"], "1", (16, 16), 1)
  frames = [Image.new("RGB", (16, 16), color) for color in ("lime", "red")]
  frames[0].save(where["animated.gif"], save_all=True, append_images=frames[1:])
  _save(where["pixel.png"], "RGB", (1, 1), LEGAL["pixel.png"])
  _save(where["wide.png"], "RGB", (20000, 4), LEGAL["wide.png"])
  Image.fromarray(np.full([20, 20], 0.2, np.float32)).save(where["fractions.tiff"])
  exif = Image.Exif()
  exif[0x0112] = 6
  _save(where["turned.jpg"], "RGB", (40, 16), (200, 0, 0), exif=exif, quality=100)


def _write_bad_files(folder):
  os.makedirs(folder)
  for name, content in (
    ("text.png", b"no image\n" * 9),
    ("empty.png", b""),
    ("page.jpg", b"<!doctype html><p>404"),
    ("text.gz", b"no numbers"),
    ("view.json", b'{"format": '),
  ):
    with open(os.path.join(folder, name), "wb") as f:
      f.write(content)
  keras.Sequential(
    [
      keras.layers.Input((32, 32, 1)),
      keras.layers.Flatten(),
      keras.layers.Lambda(lambda x: x),
    ]
  ).save(os.path.join(folder, "code.h5"))
  noise = np.random.default_rng(0).integers(0, 256, [64, 64, 3], np.uint8)
  for name in ("cut.png", "cut.jpg"):
    path = os.path.join(folder, name)
    Image.fromarray(noise).save(path)
    os.truncate(path, os.path.getsize(path) // 2)
  _save(os.path.join(folder, "bomb.png"), "1", (20000, 20000), 0)
  Image.fromarray(np.full([9, 9], np.nan, np.float32)).save(
    os.path.join(folder, "nan.tiff")
  )
  with open(os.path.join(folder, "view_setting.json"), "w", encoding="utf-8") as f:
    json.dump(
      {
        "format": "compare_gan_logits view 1",
        "modules": {},
        "view": {"photo": "", "shfit": 1},
      },
      f,
    )


def _write_sets(world):
  """Folders of classes: one that is right, and two that are not."""
  for name, validation in (("set", "cats"), ("bad_set", "birds")):
    for split, kind in (("train", "cats"), ("validation", validation)):
      folder = os.path.join(world, name, split, kind)
      os.makedirs(folder)
      _save(os.path.join(folder, "1.png"), "RGB", (40, 40), "red")
  for name in ("table_set", "binary_table_set"):
    shutil.copytree(os.path.join(world, "set"), os.path.join(world, name))
  files.write_text(os.path.join(world, "table_set", "classes.tsv"), "a\tb\n1\t2\n")
  with open(os.path.join(world, "binary_table_set", "classes.tsv"), "wb") as f:
    f.write(b"\xff\xfe\0")
  for name in ("pipe", "device"):
    os.makedirs(os.path.join(world, name))
  os.mkfifo(os.path.join(world, "pipe", "pipe.png"))
  os.symlink("/dev/zero", os.path.join(world, "device", "zero.png"))
  os.makedirs(os.path.join(world, "tar_set"))
  with open(os.path.join(world, "tar_set", "train.tar"), "wb") as f:
    f.write(b"no tar" * 1000)


def _write_modules(world):
  """A sound module, and copies of it with one thing wrong."""
  pixels = SIZE * SIZE * 3
  rng = np.random.default_rng(0)
  for name, logits in (("classifier", LOGITS), ("classifier7", 7)):
    tiny.write_classifier(
      os.path.join(world, name),
      rng.normal(0, 0.1, [pixels, logits]).astype("f"),
      SIZE,
      3,
    )
  description = classifiers.load(os.path.join(world, "classifier")).describe()
  sound = tiny.write_module(
    os.path.join(world, "module"),
    tiny.linear(rng.normal(0, 0.1, [LOGITS, pixels])),
    SIZE,
    3,
    classifier=description,
  )
  tiny.write_module(
    os.path.join(world, "grey"), tiny.linear(rng.normal(0, 0.1, [LOGITS, 64]))
  )
  info = files.read_json(os.path.join(sound, "inversion.json"))
  gone = os.path.join(world, "gone")
  for name, content in {
    "json_broken": '{"format": 1,',
    "json_list": "[1, 2]",
    "json_types": json.dumps({**info, "image_size": "32"}),
    "logit_count": json.dumps({**info, "num_logits": 5}),
    "no_classifier": json.dumps({**info, "classifier": None}),
    "classifier_gone": json.dumps(
      {**info, "classifier": {**description, "handle": gone}}
    ),
    "classifier_changed": json.dumps(
      {**info, "classifier": {**description, "digest": "0" * 64}}
    ),
    "of_the_future": json.dumps({**info, "format": 99}),
    "size_of_another": json.dumps({**info, "image_size": 64}),
    "class_names_short": json.dumps({**info, "class_names": []}),
    "class_names_numbers": json.dumps({**info, "class_names": [1, 2, 3, 4]}),
    **{
      f"classifier_{name}": json.dumps(
        {**info, "classifier": {**description, field: value}}
      )
      for name, field, value in (
        ("nowhere", "handle", None),
        ("output_list", "output", [1]),
        ("signature_dict", "signature", {}),
        ("steps_number", "preprocessing", 5),
      )
    },
    "no_weights": json.dumps(info),
    "empty_weights": json.dumps(info),
    "no_graph": json.dumps(info),
    "no_signature": json.dumps(info),
  }.items():
    folder = os.path.join(world, name)
    shutil.copytree(
      os.path.join(world, "classifier") if name == "no_signature" else sound, folder
    )
    files.write_text(os.path.join(folder, "inversion.json"), content)
  os.remove(os.path.join(world, "no_graph", "saved_model.pb"))
  shutil.rmtree(os.path.join(world, "no_weights", "variables"))
  os.truncate(
    os.path.join(world, "empty_weights", "variables", "variables.data-00000-of-00001"),
    0,
  )
  shutil.copytree(
    os.path.join(world, "classifier"), os.path.join(world, "damaged_classifier")
  )
  shutil.copytree(
    os.path.join(world, "classifier"), os.path.join(world, "classifier_json")
  )
  files.write_text(os.path.join(world, "classifier_json", "classifier.json"), "[]")
  with open(os.path.join(world, "damaged_classifier", "saved_model.pb"), "wb") as f:
    f.write(b"\xff" * 100)


def _write_others(world):
  os.makedirs(os.path.join(world, "empty"))
  files.write_text(os.path.join(world, "broken.gin"), "options.batch_size = = 3\n")
  files.write_text(os.path.join(world, "bracket.gin"), "options.batch_size = (\n")
  os.makedirs(os.path.join(world, "gins"))
  for name, content in (
    ("self", f"include '{world}/gins/self.gin'\n"),
    ("import", "import no_such_module\n"),
    ("nested", f"x = {'[' * 3000}{']' * 3000}\n"),
  ):
    files.write_text(os.path.join(world, "gins", f"{name}.gin"), content)
  with open(os.path.join(world, "gins", "utf16.gin"), "w", encoding="utf-16") as f:
    f.write("options.batch_size = 4\n")
  files.write_text(os.path.join(world, "cache_list", "train", "manifest.json"), "[]")
  files.write_json(
    os.path.join(world, "cache", "train", "manifest.json"),
    tiny.manifest("another"),
  )
  shutil.copytree(os.path.join(world, "photos"), os.path.join(world, "mixed"))
  shutil.copy(os.path.join(world, "bad", "text.png"), os.path.join(world, "mixed"))
  trial = {"image": 0, "left": "a", "right": "b"}
  study = {
    "format": 1,
    "id": "x",
    "models": {key: {"label": key} for key in "ab"},
    "dataset": "x",
    "image_size": 8,
    "seed": 0,
    "trials": [trial],
  }
  for name, content in {
    "study_broken": "{",
    "study": json.dumps(study),
    "study_answers": json.dumps(study),
    "study_path": json.dumps({**study, "trials": [{**trial, "left": "../../x"}]}),
    "study_empty": json.dumps({**study, "trials": []}),
  }.items():
    files.write_text(os.path.join(world, name, "trials.json"), content)
  files.write_text(
    os.path.join(world, "study_answers", "answers.sqlite"), "no table" * 99
  )


@pytest.fixture(scope="module")
def world(tmp_path_factory):
  """{name: path} of everything that the cases name."""
  world = str(tmp_path_factory.mktemp("world"))
  _write_images(os.path.join(world, "legal"))
  os.makedirs(os.path.join(world, "photos"))
  _save(os.path.join(world, "photos", "good.png"), "RGB", (40, 30), "red")
  _write_bad_files(os.path.join(world, "bad"))
  _write_sets(world)
  _write_modules(world)
  _write_others(world)
  names = {name: os.path.join(world, name) for name in os.listdir(world)}
  gin = os.path.join(forking.ROOT, "gin_configs", "quickstart.gin")
  return dict(
    names,
    world=world,
    gin=gin,
    broken_gin=names["broken.gin"],
    bracket_gin=names["bracket.gin"],
  )


@pytest.fixture(scope="module")
def port():
  """One that is taken."""
  with socket.create_server(("127.0.0.1", 0)) as listener:
    yield listener.getsockname()[1]


# --------------------------------------------------------------------------------


def test_the_table_is_whole():
  names = [case.name for case in CASES]
  assert len(names) >= 60 and len(set(names)) == len(names)
  assert {case.tool for case in CASES} == {
    MAIN,
    "reconstruct",
    "cache_logits",
    "train_classifier",
    "reproduce",
    "two_afc",
    "explore",
    "benchmark",
  }


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_one_sentence_with_the_remedy(case, world, server, port, tmp_path):
  check(case, dict(world, port=port), server, tmp_path)


def test_debug_shows_the_traceback(world, server, tmp_path):
  done = server.run(
    tmp_path,
    "reconstruct",
    "--debug",
    "--module",
    world["json_list"],
    "--images",
    world["photos"],
    "--output",
    tmp_path / "out",
  )
  assert done.returncode == 1
  assert "Traceback" in done.stderr and "module_format.py" in done.stderr
  assert "UserError" in done.stderr.strip().splitlines()[-1]


def test_one_bad_file_among_good_ones_is_left_out_and_named(world, server, tmp_path):
  done = server.run(
    tmp_path,
    "reconstruct",
    "--module",
    world["module"],
    "--images",
    world["mixed"],
    "--output",
    tmp_path / "out",
  )
  assert done.returncode == 0, done.stderr
  assert "text.png cannot be read" in done.stderr
  originals = sorted(
    p.name for p in (tmp_path / "out" / "images").glob("*_original.png")
  )
  assert originals and not any("text" in name for name in originals)


def test_legal_images_of_every_kind_are_converted_sensibly(world, server, tmp_path):
  done = server.run(
    tmp_path,
    "reconstruct",
    "--module",
    world["module"],
    "--images",
    world["legal"],
    "--output",
    tmp_path / "out",
  )
  assert done.returncode == 0, done.stderr
  for name, color in LEGAL.items():
    stem = os.path.splitext(name)[0]
    with Image.open(tmp_path / "out" / "images" / f"{stem}_original.png") as image:
      seen = np.asarray(image, np.int32)
    assert seen.shape == (SIZE, SIZE, 3)
    assert abs(seen - color).max() <= (2 if name.endswith(".jpg") else 1), name


@pytest.mark.parametrize("name", LEGAL)
def test_legal_images_for_a_grey_module(name, world):
  luma = float(np.dot(LEGAL[name], image_lib.LUMA))
  seen = image_lib.read_image(os.path.join(world["legal"], name), SIZE, 1)
  assert seen.shape == (SIZE, SIZE, 1) and abs(seen - luma).max() <= 2
