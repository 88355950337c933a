"""Wrong input, continued: images and their layouts, given logits, options of trainings.

The table has the form of test_bad_input.py's.
"""

import io
import json
import os
import tarfile

import numpy as np
import pytest
import tiny
from PIL import Image
from wrong_input import MAIN
from wrong_input import WRONG_FLAG
from wrong_input import Case
from wrong_input import check
from wrong_input import training

from compare_gan_logits import classifiers
from compare_gan_logits import files
from compare_gan_logits.experiments import trainings


SIZE = 16
_LOOK = "--output {out}/seen.png "
_GIVEN = "--dataset {set}@16 --output {out} --logits {given}/"
_CACHE = "--dataset embedded --output {out} --gin_bindings classifier.handle="
_EXPORT = (
  "--gin_config {gin} --gin_bindings classifier.handle='embedded_standard' "
  "--schedule export --model_dir "
)


def _data(name, args, *words, code=1):
  return Case(f"data_{name}", "data", _LOOK + args, words, code)


def _set_of(name, bindings, *words):
  """What gin binds of a data set, of which --list would print the images."""
  args = "--list --gin_bindings dataset.name='embedded'"
  for binding in bindings.split(";"):
    args += f" --gin_bindings {binding.strip().replace(' ', '')}"
  return Case(f"dataset_{name}", "cache_logits", args, words)


def _given(name, file, *words, more=""):
  return Case(f"given_{name}", "cache_logits", _GIVEN + file + more, words)


def _classifier(name, bindings, *words):
  """A cache of a classifier that is asked for what it does not offer."""
  args = "--dataset {set}@16 --output {out} "
  args += "--gin_bindings classifier.handle='{classifier}'"
  for binding in bindings.split(";"):
    args += f" --gin_bindings {binding.strip().replace(' ', '')}"
  return Case(f"classifier_{name}", "cache_logits", args, words)


def _cluster(name, config, *words):
  """A training of several processes, of which $TF_CONFIG says too little."""
  return training(
    f"cluster_{name}",
    "",
    *words,
    flags="--distribute multi_worker",
    environment={"TF_CONFIG": config},
  )


_FIDELITY = (
  ("pixel_weight", "-1.0", "not negative"),
  ("pixel_weight", "'much'", "a number"),
  ("feature_weight", "-0.5", "not negative"),
  ("mismatch_weight", "1e999", "finite"),
  ("augment_fn", "'augment'", "@"),
  ("schedule_fn", "'linear_decay'", "@"),
  ("schedule_fn", "@linear_decy", "did you mean"),
  ("one_batch", "1", "True or False"),
  ("more_ema_decays", "0.99", "a list"),
  ("more_ema_decays", "(1.5,)", "0 to 1"),
  ("more_ema_decays", "('x',)", "0 to 1"),
  ("exported_decay", "'best'", "exported_decay"),
)

CASES = (
  # Folders of images.
  _data("nothing", "", "name one folder"),
  _data("two_folders", "{set} {empty}", "name one folder"),
  _data("missing", "{world}/gone", "does not exist", "gone"),
  _data(
    "is_file",
    "{files}/good.png",
    "is a file; name the folder that it lies in",
    "good.png",
  ),
  _data("share_nan", "{set} --unreadable_share nan", "from 0 to 1"),
  _data("empty", "{empty}", "no images in"),
  _data("size_zero", "{set} --size 0", "--size", code=WRONG_FLAG),
  _data("size_in_name", "{set}@0", "@64"),
  _data("colors", "{set} --colors 2", "--colors", code=WRONG_FLAG),
  _data("share", "{set} --unreadable_share 2", "--unreadable_share", code=WRONG_FLAG),
  _data("labels_missing", "{set} --labels no.csv", "no.csv", "no such file"),
  _data("labels_empty", "{set} --labels {tables}/empty.csv", "file,label"),
  _data("labels_one_column", "{set} --labels {tables}/one.csv", "file,label"),
  _data("labels_binary", "{set} --labels {tables}/binary.csv", "binary.csv"),
  _data("labels_of_others", "{set} --labels {tables}/others.csv", "others.csv"),
  _data("labels_folder", "{set} --labels {empty}", "no such file"),
  _data("splits_twice", "{two_spellings}", "validation", "rename or remove"),
  _data("all_unreadable", "{unreadable}", "none of the", "text.png"),
  _data("only_tar_gz", "{compressed}", "no images in", "unpack"),
  _data("only_pipes", "{piped}", "no images in", "pipe"),
  _data("tar_cut", "{tar_cut}", "train.tar", "make it again"),
  _data("tar_in_tar_cut", "{tar_in_tar_cut}", "outer.tar"),
  _data("tar_of_a_picture", "{tar_of_a_picture}", "train.tar", "make it again"),
  _data("classes_lacks", "{classes_lacks}", "classes.txt", "does not list class"),
  _data("classes_twice", "{classes_twice}", "classes.txt", "lists a class twice"),
  _data("table_lacks", "{table_lacks}", "classes.tsv", "does not list class"),
  _data("table_index", "{table_index}", "classes.tsv", "0 to 999"),
  _data("unknown_class", "{unknown_class}", "birds", "none for training"),
  _data("shards_unknown_class", "{shards}", "birds", "none for training"),
  _data("metadata_damaged", "{metadata}", "metadata.jsonl"),
  _data("devkit_damaged", "{devkit}", "meta.mat"),
  Case("data_name", "data", "embedded", ("is no folder but a set",)),
  Case("data_name_with_size", "data", "mnist@32", ("is no folder but a set",)),
  Case("data_output_folder", "data", "{set} --output {empty}", ("{empty}",)),
  Case("data_output_no_image", "data", "{set} --output {out}/seen.xyz", ("seen.xyz",)),
  # ... as a training binds them.
  _set_of("crop", "dataset.crop_method='distored'", "did you mean 'distorted'"),
  _set_of("crop_eval", "dataset.eval_crop_method='center'", "known: ", "middle"),
  _set_of("crop_number", "dataset.crop_method=3", "crop"),
  _set_of(
    "crop_imagenet",
    "dataset.name='imagenet_64'; train_imagenet_transform.crop_method='midle'",
    "did you mean 'middle'",
  ),
  _set_of("crops_negative", "dataset.fixed_crops=-1", "dataset.fixed_crops"),
  _set_of("crops_fraction", "dataset.fixed_crops=1.5", "whole number"),
  _set_of("flip_text", "dataset.flip='yes'", "dataset.flip", "True or False"),
  _set_of("antialias_number", "dataset.antialias=3", "dataset.antialias"),
  _set_of("unreadable_share", "dataset.unreadable_share=2.0", "unreadable_share"),
  _set_of("cache_negative", "dataset.cache_gigabytes=-1.0", "not negative"),
  _set_of("labels_number", "dataset.labels=5", "dataset.labels"),
  _set_of("labels_gone", "dataset.name='{set}@32';dataset.labels='no.csv'", "no.csv"),
  _set_of("embedded_none", "dataset.name='embedded:0'", "'embedded:1200'"),
  _set_of("embedded_text", "dataset.name='embedded:all'", "'embedded:1200'"),
  _set_of("embedded_many", "dataset.name='embedded:99999'", "'embedded:1200'"),
  _set_of("pad_text", "dataset.name='mnist@big'", "number of pixels"),
  _set_of("pad_smaller", "dataset.name='mnist@16'", "mnist", "28"),
  _set_of("unreadable_two", "dataset.name='{half_read}@32'", "unreadable_share"),
  # Options of short trainings.
  *(
    training(f"fidelity_{i}_{name}", f"FidelityGAN.{name}={value}", words)
    for i, (name, value, words) in enumerate(_FIDELITY)
  ),
  training("upsampling", "upsampling.method='linear'", "did you mean 'bilinear'"),
  training("projection_scale", "D.projection_scale='x'", "D.projection_scale"),
  # Networks and norms that do not fit.
  training("spatial_flat", "G.batch_norm_fn=@spatial_conditional_batch_norm", "map"),
  training(
    "spatial_hidden",
    "G.batch_norm_fn=@spatial_conditional_batch_norm;"
    "spatial_conditional_batch_norm.num_hidden=0",
    "num_hidden",
  ),
  training("norm_text", "G.batch_norm_fn='batch_norm'", "G.batch_norm_fn", "@"),
  training("network_128", "options.architecture='resnet30_arch'", "resnet30", "128 px"),
  training("penalty_text", "penalty.fn='no_penalty'", "penalty.fn", "@"),
  # Classifiers.
  _classifier("role", "classifier.role='sturdy'", "'standard' or 'robust'"),
  _classifier("role_keys", "classifier.role={{'name':'robust'}}", "kind, attack"),
  _classifier(
    "role_epsilon", "classifier.role={{'kind':'robust','epsilon':-1}}", "positive"
  ),
  _classifier(
    "role_attack", "classifier.role={{'kind':'standard','attack':'PGD'}}", "no attack"
  ),
  _classifier("role_number", "classifier.role=1", "'standard' or 'robust'"),
  _classifier("names_text", "classifier.class_names='boot'", "a list of names"),
  _classifier(
    "names_few", "classifier.class_names=['a','b']", "class_names has 2 names", "4"
  ),
  _classifier("names_number", "classifier.class_names=7", "class_names"),
  _classifier("pool_zero", "classifier.pool=0", "classifier.pool"),
  _classifier("pool_of_a_vector", "classifier.pool=2", "pool"),
  _classifier("layout", "classifier.layout='hwc'", "'nhwc' or 'nchw'"),
  _classifier("order", "classifier.channel_order='gbr'", "'rgb' or 'bgr'"),
  _classifier("colors_two", "classifier.colors=2", "1 or 3"),
  _classifier("mean_text", "classifier.mean='grey'", "classifier.mean"),
  _classifier("std_zero", "classifier.std=0.0", "std"),
  _classifier("same_range", "classifier.low=1.0;classifier.high=1.0", "low"),
  _classifier("extra", "classifier.extra_inputs={{'phase':0.0}}", "phase"),
  _classifier("extra_text", "classifier.extra_inputs='phase'", "extra_inputs"),
  _classifier("output_number", "classifier.output=99", "output"),
  _classifier("softmax_text", "classifier.softmax='yes'", "True or False"),
  _classifier("digest_number", "classifier.digest=5", "classifier.digest"),
  _classifier("name_number", "classifier.name=5", "classifier.name"),
  _classifier("keras_cut", "classifier.handle='{files}/cut.keras'", "cut.keras"),
  _classifier("h5_cut", "classifier.handle='{files}/cut.h5'", "cut.h5"),
  _classifier("keras_3", "classifier.handle='{files}/three.keras'", "three.keras"),
  _classifier("npz", "classifier.handle='{files}/other.npz'", "other.npz"),
  _classifier(
    "cache_of_others",
    "classifier.handle=None;classifier.cache_dir='{filled}'",
    "bind classifier.handle",
  ),
  _classifier("no_cache", "classifier.handle='logits:{empty}'", "no logit cache"),
  # Given logits.
  _given("missing", "no.npy", "no file", "no.npy"),
  _given("kind", "logits.mat", "must be .npy"),
  _given("vector", "vector.npy", "[images, logits]"),
  _given("text", "text.npy", "holds no logits"),
  _given("strings", "strings.npy", "not numbers"),
  _given("objects", "objects.npy", "holds no logits"),
  _given("cut", "cut.npy", "holds no logits"),
  _given("nan", "nan.npy", "not finite in row 1"),
  _given("rows", "rows.npy", "7 rows", "--list"),
  _given("no_columns", "no_columns.npy", "[images, logits]"),
  _given("npz_name", "other.npz", "no array 'logits'"),
  _given("npz_cut", "cut.npz", "holds no logits"),
  _given("npz_no_zip", "text.npz", "text.npz"),
  _given("npz_short", "short.npz", "short.npz"),
  _given("names_twice", "twice.csv", "two rows for", "a.png"),
  _given("names_missing", "missing.csv", "no row for", "--list"),
  _given("names_of_others", "others.csv", "none of which", "is cats/a.png;"),
  _given("ragged", "ragged.csv", "one length"),
  _given("headings", "headings.csv", "holds no logits"),
  _given("words", "words.csv", "holds no logits"),
  _given("csv_empty", "empty.csv", "holds no logits"),
  _given("csv_binary", "binary.csv", "holds no logits"),
  _given("workers", "sound.npy", "--num_workers", more=" --num_workers=3"),
  Case("given_folder", "cache_logits", _GIVEN + " ", ("given",)),
  Case(
    "given_elsewhere",
    "cache_logits",
    "--dataset {set}@16 --output {filled} --logits {given}/sound.npy",
    ("was made with", "another folder"),
  ),
  Case(
    "cache_worker",
    "cache_logits",
    _CACHE + "'embedded_standard' --worker 2",
    ("workers are 0",),
  ),
  Case(
    "cache_workers",
    "cache_logits",
    _CACHE + "'embedded_standard' --num_workers 9 --shards 3",
    ("no more workers",),
  ),
  Case(
    "cache_no_classifier",
    "cache_logits",
    "--dataset embedded --output {out}",
    ("classifier.handle", "--logits"),
  ),
  Case("cache_list_nothing", "cache_logits", "--list", ("--dataset",)),
  # Schedules, replicas and clusters.
  Case(
    "averaging_runs",
    MAIN,
    "--gin_config {gin} --num_eval_averaging_runs 0",
    ("--num_eval_averaging_runs",),
    WRONG_FLAG,
  ),
  Case(
    "eval_never",
    MAIN,
    "--gin_config {gin} --eval_every_steps -2",
    ("--eval_every_steps",),
    WRONG_FLAG,
  ),
  Case(
    "distribute",
    MAIN,
    "--gin_config {gin} --distribute everywhere",
    ("--distribute",),
    WRONG_FLAG,
  ),
  Case(
    "replicas_none",
    MAIN,
    "--gin_config {gin} --num_replicas 0",
    ("--num_replicas",),
    WRONG_FLAG,
  ),
  training("replicas_alone", "", "--distribute mirrored", flags="--num_replicas 2"),
  training("no_gpu", "", "--num_replicas", flags="--distribute mirrored"),
  training(
    "tpu_and_replicas",
    "",
    "--use_tpu",
    flags="--use_tpu --tpu nowhere --distribute mirrored --num_replicas 2",
  ),
  training("no_cluster", "", "TF_CONFIG", flags="--distribute multi_worker"),
  training(
    "cluster_no_json", "", "TF_CONFIG", "unset it", environment={"TF_CONFIG": "worker0"}
  ),
  training(
    "cluster_list", "", "TF_CONFIG", "unset it", environment={"TF_CONFIG": "[1]"}
  ),
  _cluster("words", "worker0", "names no chief"),
  _cluster("no_task", '{"cluster": {"worker": ["a:1"]}}', "names no chief"),
  _cluster(
    "beyond",
    '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 3}}',
    "names no chief",
  ),
  _cluster(
    "no_port",
    '{"cluster": {"worker": ["a"]}, "task": {"type": "worker", "index": 0}}',
    "names no chief",
  ),
  _cluster(
    "two_chiefs",
    '{"cluster": {"chief": ["a:1", "b:1"]}, "task": {"type": "chief", "index": 0}}',
    "names no chief",
  ),
  _cluster(
    "evaluator",
    '{"cluster": {"worker": ["a:1"], "evaluator": ["b:1"]}, '
    '"task": {"type": "worker", "index": 0}}',
    "names no chief",
  ),
  training("tags", "module.batch_sizes=(0,)", "module.batch_sizes"),
  training("tags_text", "module.batch_sizes=('all',)", "module.batch_sizes"),
  training("tensor_float", "devices.tensor_float_32='yes'", "devices.tensor_float_32"),
  # Runs that were trained with something else.
  Case("run_damaged", MAIN, _EXPORT + "{run_damaged}", ("trained_on.json", "remove")),
  Case(
    "run_of_another_classifier",
    MAIN,
    _EXPORT + "{run_of_another}",
    ("trained with the classifier theirs (00000000)", "another --model_dir"),
  ),
  # Folders that TensorFlow takes for patterns.
  Case(
    "pattern_run",
    MAIN,
    "--gin_config {gin} --gin_bindings classifier.handle='embedded_standard' "
    "--model_dir {out}/lr[1]",
    ("lr[1]: TensorFlow takes a path with [ for a pattern", "name a folder"),
  ),
  Case(
    "pattern_classifier",
    "train_classifier",
    "--dataset embedded --output {out}/c*",
    ("with * for a pattern",),
  ),
  Case("pattern_questions", "questions", "--output {out}/q?", ("with ? for a",)),
  Case(
    "pattern_module",
    "reconstruct",
    "--module {world}/mods[b] --images {files}/good.png --output {out}",
    ("mods[b]: TensorFlow takes",),
  ),
  # Several trainings, and the open questions.
  Case("trainings_none", "trainings", "", ("at least two reports",)),
  Case("trainings_one", "trainings", "--report {report}", ("at least two",)),
  Case("trainings_word", "trainings", "{report}", ("--help",)),
  Case(
    "trainings_gone", "trainings", "--report {world}/gone --report {report}", ("gone",)
  ),
  Case(
    "trainings_same",
    "trainings",
    "--report {report} --report {report} --output {out}/t.md",
    ("of its own",),
  ),
  Case(
    "trainings_apart",
    "trainings",
    "--report {report} --report {report_apart} --output {out}/t.md",
    ("no number in common", "the same labels", "a; b"),
  ),
  Case(
    "trainings_broken",
    "trainings",
    "--report {report} --report {report_broken}",
    ("results.json is damaged",),
  ),
  Case(
    "trainings_list",
    "trainings",
    "--report {report} --report {report_list}",
    ("results.json is damaged",),
  ),
  Case(
    "trainings_other",
    "trainings",
    "--report {report} --report {report_other}",
    ("results.json is damaged",),
  ),
  Case(
    "questions_only",
    "questions",
    "--only robustnes --output {out}",
    ("known: ", "invertibility"),
  ),
  Case("questions_word", "questions", "content --output {out}", ("--help",)),
  Case(
    "questions_setting",
    "questions",
    "--output {out} --gin_bindings questions.seed=(0,)",
    ("did you mean 'seeds'",),
  ),
  Case(
    "questions_steps",
    "questions",
    "--output {out} --gin_bindings questions.decoder_steps=0",
    ("decoder_steps",),
  ),
  Case(
    "questions_seeds",
    "questions",
    "--output {out} --gin_bindings questions.seeds=3",
    ("questions.seeds",),
  ),
  Case(
    "questions_no_seeds",
    "questions",
    "--output {out} --gin_bindings questions.seeds=()",
    ("questions.seeds",),
  ),
  Case(
    "questions_epsilon",
    "questions",
    "--output {out} --gin_bindings questions.shown_epsilon=0.3",
    ("shown_epsilon",),
  ),
  Case(
    "questions_networks",
    "questions",
    "--output {out} --only architectures --gin_bindings questions.networks=('vti',)",
    ("vti",),
  ),
  Case(
    "questions_dataset",
    "questions",
    "--output {out} --gin_bindings questions.dataset='embeded'",
    ("did you mean 'embedded'",),
  ),
  Case(
    "questions_config", "questions", "--output {out} --gin_config no.gin", ("no.gin",)
  ),
  Case(
    "report_over_files",
    "reproduce",
    "--module {module} --only rotation --output {set}",
    ("holds files and no report",),
  ),
  Case(
    "report_of_one_sample",
    "reproduce",
    "--module {module} --only comparison,noise_resampling --dataset {set}@8 --output {out} "
    "--gin_bindings noise_resampling.samples=1",
    ("samples must be at least 2",),
  ),
  Case(
    "training_over_a_file",
    "train_classifier",
    "--output {files}/good.png",
    ("is a file; name a folder",),
  ),
  Case(
    "reconstruct_over_a_file",
    "reconstruct",
    "--images {files}/good.png --output {files}/good.png",
    ("is a file; name a folder",),
  ),
  Case(
    "gin_macro",
    MAIN,
    "--gin_config quickstart.gin --model_dir {out} --gin_bindings options.z_dim=%foo",
    ("%foo stands for a macro",),
  ),
  # Gin files of photographs name no folder and no classifier of their own.
  Case(
    "photos_without_dataset",
    MAIN,
    "--gin_config photos64.gin --model_dir {out}",
    ("leaves dataset.name to you",),
  ),
  Case(
    "photos_without_classifier",
    MAIN,
    "--gin_config photos.gin --model_dir {out} --gin_bindings dataset.name='embedded'",
    ("classifier.handle",),
  ),
  Case(
    "questions_inverters",
    "questions",
    "--output {out} --gin_bindings questions.inverter_config='no.gin'",
    ("no.gin",),
  ),
  Case(
    "questions_show",
    "questions",
    "--show --output {out}",
    ("no finished training", "leave --show out"),
  ),
  Case("questions_output", "questions", "--output {files}/good.png", ("good.png",)),
  # The small classifiers.
  Case(
    "network_kind",
    "train_classifier",
    "--output {out} --network vti",
    ("did you mean 'vit'",),
  ),
  Case(
    "network_and_init",
    "train_classifier",
    "--output {out} --network vit --init efficientnet_lite0",
    ("not both",),
  ),
  Case(
    "network_size",
    "train_classifier",
    "--output {out} --network vit --dataset {set}@28",
    ("28",),
  ),
  Case(
    "network_blocks",
    "train_classifier",
    "--output {out} --network vit --gin_bindings vit.blocks=0",
    ("vit.blocks",),
  ),
  Case(
    "network_width",
    "train_classifier",
    "--output {out} --network vit --gin_bindings vit.width=63",
    ("vit.width",),
  ),
  Case(
    "train_and_evaluate",
    "train_classifier",
    "--output {out} --evaluate embedded_robust",
    ("either --output",),
  ),
  Case(
    "evaluate_none",
    "train_classifier",
    "--evaluate embedded_robust --limit 0",
    ("--limit",),
    WRONG_FLAG,
  ),
  Case(
    "train_free_l2",
    "train_classifier",
    "--output {out} --robust "
    "--gin_bindings train_classifier.method='free' --gin_bindings attack.norm='l2'",
    ("'linf'",),
  ),
  Case(
    "train_norm",
    "train_classifier",
    "--output {out} --robust --gin_bindings attack.norm='l3'",
    ("'linf' or 'l2'",),
  ),
  Case(
    "evaluate_some_names",
    "train_classifier",
    "--dataset embedded --evaluate {classifier} "
    "--gin_bindings classifier.class_names=['bag','b','c','d']",
    ("classifier.class_names",),
  ),
  # Modules, the study, the explorer.
  Case(
    "reconstruct_classifier",
    "reconstruct",
    "--module {module} --classifier no_one --images {files}/good.png --output {out}",
    ("no_one",),
  ),
  Case(
    "reconstruct_label",
    "reconstruct",
    "--module a={module} --classifier "
    "b={classifier} --images {files}/good.png --output {out}",
    ("no module 'b'",),
  ),
  Case(
    "reconstruct_rows", "reconstruct", "--grid_rows 0", ("--grid_rows",), WRONG_FLAG
  ),
  Case("reconstruct_seed", "reconstruct", "--seed -1", ("--seed",), WRONG_FLAG),
  Case(
    "report_judge",
    "reproduce",
    "--module {module} --judge embedded_standrd --dataset embedded --output {out}",
    ("did you mean 'embedded_standard'",),
  ),
  Case(
    "report_role_label",
    "reproduce",
    "--module a={module} --role b=robust --output {out}",
    ("'b'",),
  ),
  Case(
    "report_output",
    "reproduce",
    "--module {module} --dataset embedded --output {files}/good.png",
    ("good.png",),
  ),
  Case(
    "study_proxy",
    "two_afc",
    "serve --study {study} --port 0 --outer_url hub/x",
    ("--outer_url", "https://"),
  ),
  Case(
    "study_proxy_prepare",
    "two_afc",
    "prepare --outer_url https://hub.example/",
    ("--outer_url is not for prepare",),
  ),
  Case(
    "study_classifier",
    "two_afc",
    "serve --study {study} --classifier {classifier}",
    ("--classifier is not for serve",),
  ),
  Case(
    "study_two", "two_afc", "serve --study {study} --study {study}", ("one --study",)
  ),
  Case("study_none", "two_afc", "analyse", ("--study is missing",)),
  Case(
    "study_catch",
    "two_afc",
    "analyse --study {study} --min_catch 2",
    ("--min_catch",),
    WRONG_FLAG,
  ),
  Case(
    "study_judge",
    "two_afc",
    "analyse --study {study} --judge eye",
    ("--judge",),
    WRONG_FLAG,
  ),
  Case(
    "study_labels",
    "two_afc",
    "prepare --module a={module} --module b={module} "
    "--classifier c={classifier} --dataset embedded --output {out}",
    ("no module 'c'",),
  ),
  Case(
    "explorer_proxy_query",
    "explore",
    "--module {module} --port 0 --outer_url https://hub.example/?x=1",
    ("--outer_url",),
  ),
  Case(
    "explorer_proxy_port",
    "explore",
    "--module {module} --port 0 --outer_url https://hub.example:port/",
    ("--outer_url",),
  ),
  Case(
    "explorer_proxy_file",
    "explore",
    "--module {module} --port 0 --outer_url file:///tmp",
    ("--outer_url",),
  ),
  Case(
    "view_list", "explore", "--port 0 --open {views}/list.json", ("not a saved view",)
  ),
  Case(
    "view_modules",
    "explore",
    "--port 0 --open {views}/modules.json",
    ("folders of its modules",),
  ),
  Case(
    "view_nested",
    "explore",
    "--port 0 --open {views}/nested.json",
    ("not a saved view",),
  ),
  Case("view_value", "explore", "--port 0 --open {views}/value.json", ("shift",)),
  Case(
    "command_unknown",
    "compare_gan_logits.cli.dispatch",
    "trian",
    ("did you mean 'train'",),
    WRONG_FLAG,
  ),
)


# What the cases name ------------------------------------------------------------


def _picture(*path):
  os.makedirs(os.path.join(*path[:-1]), exist_ok=True)
  Image.new("RGB", (40, 40), "red").save(os.path.join(*path))


def _set(folder, **texts):
  """A folder of two classes, a picture each, with some text files at its top."""
  for split in ("train", "validation"):
    for name, kind in (("a.png", "cats"), ("b.png", "dogs")):
      _picture(folder, split, kind, name)
  for name, text in texts.items():
    files.write_text(os.path.join(folder, name.replace("_", ".")), text)


def _tar(path, members):
  """A tar of {name: bytes}."""
  os.makedirs(os.path.dirname(path), exist_ok=True)
  with tarfile.open(path, "w") as tar:
    for name, content in members.items():
      member = tarfile.TarInfo(name)
      member.size = len(content)
      tar.addfile(member, io.BytesIO(content))


def _write_sets(world):
  join = os.path.join
  _set(join(world, "set"))
  _set(join(world, "classes_lacks"), classes_txt="cats\n")
  _set(join(world, "classes_twice"), classes_txt="cats\ndogs\ncats\n")
  os.makedirs(join(world, "classes_folder", "classes.txt"))
  _set(join(world, "classes_folder"))
  table = "wnid\timagenet_index\tname\ncats\t1\tcat\n"
  _set(join(world, "table_lacks"), classes_tsv=table)
  _set(join(world, "table_index"), classes_tsv=table + "dogs\t1000\tdog\n")
  _set(join(world, "two_spellings"))
  _picture(world, "two_spellings", "val", "cats", "c.png")
  for name in ("unknown_class", "half_read"):
    _set(join(world, name))
  _picture(world, "unknown_class", "validation", "birds", "c.png")
  for name in ("c.png", "d.png"):
    files.write_text(join(world, "half_read", "train", "cats", name), "no picture")
  _picture(world, "train_only", "train", "cats", "a.png")
  _picture(world, "loose", "train", "a.png")
  _picture(world, "loose", "validation", "b.png")
  files.write_text(join(world, "unreadable", "train", "cats", "text.png"), "none")
  files.write_text(join(world, "compressed", "train.tar.gz"), "none")
  os.makedirs(join(world, "piped", "train"))
  os.mkfifo(join(world, "piped", "train", "pipe.png"))
  with open(join(world, "set", "train", "cats", "a.png"), "rb") as f:
    picture = f.read()
  members = {f"cats/{i}.png": picture for i in range(3)}
  for name in ("tar_cut", "tar_in_tar_cut"):
    _tar(join(world, name, "train.tar"), members)
    os.truncate(join(world, name, "train.tar"), 700)
  cut = join(world, "tar_in_tar_cut", "train.tar")
  with open(cut, "rb") as f:
    _tar(join(world, "tar_in_tar_cut", "outer.tar"), {"train/inner.tar": f.read()})
  os.remove(cut)
  os.makedirs(join(world, "tar_of_a_picture"))
  with open(join(world, "tar_of_a_picture", "train.tar"), "wb") as f:
    f.write(picture * 9)
  for split, kind in (("train", b"cats"), ("val", b"birds")):
    _tar(
      join(world, "shards", f"{split}-000000.tar"),
      {"1.png": picture, "1.cls": kind, "2.png": picture, "2.cls": kind},
    )
  _picture(world, "metadata", "train", "a.png")
  line = json.dumps({"file_name": ["a.png"], "label": "cats"})
  files.write_text(join(world, "metadata", "train", "metadata.jsonl"), line)
  for name in ("ILSVRC2012_val_00000001.JPEG", "ILSVRC2012_val_00000002.JPEG"):
    _picture(world, "devkit", "val", name)
  _picture(world, "devkit", "train", "n01440764", "a.png")
  for name in ("meta.mat", "ILSVRC2012_validation_ground_truth.txt"):
    files.write_text(join(world, "devkit", "data", name), "1\n2\n")
  for name, content in (
    ("empty", b""),
    ("one", b"cats\ndogs\n"),
    ("binary", bytes(range(256)) * 4),
    ("others", b"file,label\nx.png,cats\ny.png,dogs\n"),
  ):
    path = join(world, "tables", f"{name}.csv")
    files.write_text(path, "")
    with open(path, "wb") as f:
      f.write(content)


def _write_given(world):
  """Files of logits for the two training images of `set`, and one that is sound."""
  folder = os.path.join(world, "given")
  os.makedirs(folder)
  sound = np.eye(2, dtype="f")
  for name, array in {
    "sound": sound,
    "vector": np.zeros(2, "f"),
    "strings": np.array([["a", "b"], ["c", "d"]]),
    "objects": np.array([[{}, 1], [2, 3]], object),
    "nan": np.array([[0, 1], [0, np.nan]], "f"),
    "rows": np.zeros([7, 2], "f"),
    "no_columns": np.zeros([2, 0], "f"),
    "cut": sound,
  }.items():
    np.save(os.path.join(folder, f"{name}.npy"), array)
  np.savez(os.path.join(folder, "other.npz"), values=sound)
  np.savez(os.path.join(folder, "cut.npz"), logits=sound)
  np.savez(os.path.join(folder, "short.npz"), logits=sound, names=["cats/a.png"])
  for name in ("cut.npy", "cut.npz"):
    path = os.path.join(folder, name)
    os.truncate(path, os.path.getsize(path) - 5)
  for name, text in {
    "logits.mat": "1 2",
    "text.npy": "1 2\n3 4\n",
    "text.npz": "1 2\n3 4\n",
    "twice.csv": "cats/a.png,1,2\ncats/a.png,3,4\n",
    "missing.csv": "cats/a.png,1,2\n",
    "others.csv": "x.png,1,2\ny.png,1,2\n",
    "ragged.csv": "cats/a.png,1,2\ndogs/b.png,1\n",
    "headings.csv": "name,cat,dog\n",
    "words.csv": "cats/a.png,1,2\ndogs/b.png,one,two\n",
    "empty.csv": "",
  }.items():
    files.write_text(os.path.join(folder, name), text)
  with open(os.path.join(folder, "binary.csv"), "wb") as f:
    f.write(bytes(range(256)))
  files.write_json(
    os.path.join(world, "filled", "train", "manifest.json"),
    tiny.manifest("another"),
  )


def _write_files(world):
  folder = os.path.join(world, "files")
  _picture(folder, "good.png")
  for name, text in (("cut.keras", "PK"), ("cut.h5", "\x89HDF"), ("three.keras", "")):
    files.write_text(os.path.join(folder, name), text)
  import zipfile

  with zipfile.ZipFile(os.path.join(folder, "three.keras"), "w") as archive:
    archive.writestr("metadata.json", json.dumps({"keras_version": "3.5.0"}))
  np.savez(os.path.join(folder, "other.npz"), values=np.zeros(3))
  for name, content in {
    "list": [],
    "modules": {"format": "compare_gan_logits view 1", "modules": [1], "view": {}},
    "value": {
      "format": "compare_gan_logits view 1",
      "modules": {},
      "view": {"photo": "", "shift": "far"},
    },
  }.items():
    files.write_json(os.path.join(world, "views", f"{name}.json"), content)
  files.write_text(os.path.join(world, "views", "nested.json"), "[" * 9000)
  files.write_text(os.path.join(world, "scored", "scores.csv"), "step,a\n1,2,3,4\nx\n")
  files.write_text(os.path.join(world, "seeded", "random_seed.json"), "[]")
  theirs = {"classifier": "theirs", "classifier_digest": "0" * 64, "dataset": "x"}
  for name, facts in (
    ("run_damaged", {}),
    ("run_of_another", {**theirs, "fingerprint": "x", "transform": {}}),
  ):
    files.write_json(os.path.join(world, name, "trained_on.json"), facts)
  run = dict.fromkeys(trainings.SAME, 0)
  run["modules"] = {"a": {"path": "runs/a"}}
  apart = {**run, "modules": {"b": {"path": "runs/b"}}}
  for name, text in (
    ("report_apart", json.dumps({"run": apart, "experiments": {}})),
    ("report", json.dumps({"run": run, "experiments": {}})),
    ("report_broken", "{"),
    ("report_list", "[]"),
    ("report_other", '{"run": 5}'),
  ):
    files.write_text(os.path.join(world, name, "results.json"), text)
  trial = {"image": 0, "left": "a", "right": "b"}
  study = {"format": 1, "id": "x", "models": {key: {"label": key} for key in "ab"}}
  study.update(dataset="x", image_size=8, seed=0, trials=[trial])
  files.write_json(os.path.join(world, "study", "trials.json"), study)


def _write_modules(world):
  rng = np.random.default_rng(0)
  pixels = SIZE * SIZE * 3
  for name, logits in (("classifier", 4), ("classifier5", 5)):
    kernel = rng.normal(0, 0.1, [pixels, logits]).astype("f")
    tiny.write_classifier(os.path.join(world, name), kernel, SIZE, 3)
  tiny.write_module(
    os.path.join(world, "module"),
    tiny.linear(rng.normal(0, 0.1, [4, pixels])),
    SIZE,
    3,
    classifier=classifiers.load(os.path.join(world, "classifier")).describe(),
  )


@pytest.fixture(scope="module")
def world(tmp_path_factory):
  """{name: path} of everything that the cases name."""
  world = str(tmp_path_factory.mktemp("world"))
  os.makedirs(os.path.join(world, "empty"))
  for write in (_write_sets, _write_given, _write_files, _write_modules):
    write(world)
  names = {name: os.path.join(world, name) for name in os.listdir(world)}
  return dict(names, world=world, gin="quickstart.gin")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_one_sentence_with_the_remedy(case, world, server, tmp_path):
  check(case, world, server, tmp_path)


def test_names_are_unique():
  names = [case.name for case in CASES]
  assert len(set(names)) == len(names)
