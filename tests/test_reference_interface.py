"""compare_gan v3's public interface: what its users call, subclass, bind and pass.

Names, arguments, their order and defaults are compare_gan's, module by module. A function
here may take more arguments behind them, and give a default to one that compare_gan
requires. What docs/reference.md names as different is left out. How things behave is the
subject of the other tests.
"""

import importlib
import inspect
import re

import gin
import pytest
import tensorflow.compat.v1 as tf
from absl import flags

from compare_gan_logits import datasets
from compare_gan_logits import main  # noqa: F401, its flags; gin knows all GANs


# An entry is a function, a class with the arguments of its constructor, a method (without
# `self`), `name = value`, or a name alone, of which only that it exists is compared. Lines
# that are indented further go on with the entry above them.
_INTERFACE = {
  "architectures.arch_ops": """
    weight_initializer(initializer="normal", stddev=0.02)
    linear(inputs, output_size, scope=None, stddev=0.02, bias_start=0.0, use_sn=False,
        use_bias=True)
    conv2d(inputs, output_dim, k_h, k_w, d_h, d_w, stddev=0.02, name="conv2d",
        use_sn=False, use_bias=True)
    conv1x1(inputs, output_dim, *, stddev=0.02, name="conv2d", use_sn=False,
        use_bias=True)
    deconv2d(inputs, output_shape, k_h, k_w, d_h, d_w, stddev=0.02, name="deconv2d",
        use_sn=False)
    lrelu(inputs, leak=0.2, name="lrelu")
    weight_norm_linear(input_, output_size, init=False, init_scale=1.0,
        name="wn_linear", initializer=tf.truncated_normal_initializer, stddev=0.02)
    weight_norm_conv2d(input_, output_dim, k_h, k_w, d_h, d_w, init, init_scale,
        stddev=0.02, name="wn_conv2d", initializer=tf.truncated_normal_initializer)
    weight_norm_deconv2d(x, output_dim, k_h, k_w, d_h, d_w, init=False, init_scale=1.0,
        stddev=0.02, name="wn_deconv2d", initializer=tf.truncated_normal_initializer)
    layer_norm(input_, is_training, scope)
    spectral_norm(inputs, epsilon=1e-12, singular_value="left")
    standardize_batch(inputs, is_training, decay=0.999, epsilon=1e-3,
        data_format="NHWC", use_moving_averages=True, use_cross_replica_mean=None)
    no_batch_norm(inputs)
    batch_norm(inputs, is_training, center=True, scale=True, name="batch_norm")
    self_modulated_batch_norm(inputs, z, is_training, use_sn, center=True, scale=True,
        name="batch_norm", num_hidden=32)
    conditional_batch_norm(inputs, y, is_training, use_sn, center=True, scale=True,
        name="batch_norm", use_bias=False)
    non_local_block(x, name, use_sn)
  """,
  "architectures.resnet_ops": """
    unpool(value, name="unpool")
    validate_image_inputs(inputs, validate_power2=True)
    ResNetBlock(name, in_channels, out_channels, scale, is_gen_block, layer_norm=False,
        spectral_norm=False, batch_norm=None)
    ResNetBlock.__call__(inputs, z, y, is_training)
    ResNetBlock.apply(inputs, z, y, is_training)
    ResNetBlock._get_conv(inputs, in_channels, out_channels, scale, suffix,
        kernel_size=(3, 3), strides=(1, 1))
    ResNetGenerator(name="generator", image_shape=None, batch_norm_fn=None,
        spectral_norm=False)
    ResNetGenerator._resnet_block(name, in_channels, out_channels, scale)
    ResNetDiscriminator(name="discriminator", batch_norm_fn=None, layer_norm=False,
        spectral_norm=False)
    ResNetDiscriminator._resnet_block(name, in_channels, out_channels, scale)
  """,
  "architectures.abstract_arch": """
    AbstractGenerator(name="generator", image_shape=None, batch_norm_fn=None,
        spectral_norm=False)
    AbstractGenerator.__call__(z, y, is_training, reuse=tf.AUTO_REUSE)
    AbstractGenerator.apply(z, y, is_training)
    AbstractGenerator.batch_norm(inputs, **kwargs)
    AbstractGenerator.name
    AbstractGenerator.trainable_variables
    AbstractDiscriminator(name="discriminator", batch_norm_fn=None, layer_norm=False,
        spectral_norm=False)
    AbstractDiscriminator.__call__(x, y, is_training, reuse=tf.AUTO_REUSE)
    AbstractDiscriminator.apply(x, y, is_training)
    AbstractDiscriminator.batch_norm(inputs, **kwargs)
    AbstractDiscriminator.name
    AbstractDiscriminator.trainable_variables
  """,
  "architectures.dcgan": """
    Generator(name="generator", image_shape=None, batch_norm_fn=None,
        spectral_norm=False)
    Discriminator(name="discriminator", batch_norm_fn=None, layer_norm=False,
        spectral_norm=False)
  """,
  "architectures.infogan": """
    Generator(name="generator", image_shape=None, batch_norm_fn=None,
        spectral_norm=False)
    Discriminator(name="discriminator", batch_norm_fn=None, layer_norm=False,
        spectral_norm=False)
  """,
  "architectures.sndcgan": """
    Generator(name="generator", image_shape=None, batch_norm_fn=None,
        spectral_norm=False)
    Discriminator(name="discriminator", batch_norm_fn=None, layer_norm=False,
        spectral_norm=False)
  """,
  "architectures.resnet5": """
    Generator(ch=64, channels=(8, 8, 4, 4, 2, 1), **kwargs)
    Discriminator(ch=64, channels=(1, 2, 4, 4, 8, 8), **kwargs)
  """,
  "architectures.resnet30": """
    Generator(name="generator", image_shape=None, batch_norm_fn=None,
        spectral_norm=False)
    Discriminator(name="discriminator", batch_norm_fn=None, layer_norm=False,
        spectral_norm=False)
  """,
  "architectures.resnet_cifar": """
    Generator(hierarchical_z=False, embed_z=False, embed_y=False, **kwargs)
    Discriminator(project_y=False, **kwargs)
  """,
  "architectures.resnet_stl": """
    Generator(name="generator", image_shape=None, batch_norm_fn=None,
        spectral_norm=False)
    Discriminator(name="discriminator", batch_norm_fn=None, layer_norm=False,
        spectral_norm=False)
  """,
  "architectures.resnet_biggan": """
    BigGanResNetBlock(add_shortcut=True, **kwargs)
    Generator(ch=96, blocks_with_attention="B4", hierarchical_z=True, embed_z=False,
        embed_y=True, embed_y_dim=128, embed_bias=False, **kwargs)
    Discriminator(ch=96, blocks_with_attention="B1", project_y=True, **kwargs)
  """,
  "architectures.resnet_biggan_deep": """
    BigGanDeepResNetBlock(name, in_channels, out_channels, scale, spectral_norm=False,
        batch_norm=None)
    Generator(ch=128, embed_y=True, embed_y_dim=128,
        experimental_fast_conv_to_rgb=False, **kwargs)
    Discriminator(ch=128, blocks_with_attention="B1", project_y=True, **kwargs)
  """,
  "gans.abstract_gan": """
    AbstractGAN(dataset, parameters, model_dir)
    AbstractGAN.as_estimator(run_config, batch_size, use_tpu)
    AbstractGAN.as_module_spec(params, mode)
    AbstractGAN.input_fn(params, mode)
    AbstractGAN.model_fn(features, labels, params, mode)
  """,
  "gans.modular_gan": """
    ModularGAN(dataset, parameters, model_dir, deprecated_split_disc_calls=False,
        experimental_joint_gen_for_disc=False, experimental_force_graph_unroll=False,
        g_use_ema=False, ema_decay=0.9999, ema_start_step=40000,
        g_optimizer_fn=tf.train.AdamOptimizer, d_optimizer_fn=None, g_lr=0.0002,
        d_lr=None, conditional=False, fit_label_distribution=False)
    ModularGAN.generator
    ModularGAN.discriminator
    ModularGAN.conditional
    ModularGAN.as_estimator(run_config, batch_size, use_tpu)
    ModularGAN.as_module_spec()
    ModularGAN.input_fn(params, mode)
    ModularGAN.label_generator(shape, name=None)
    ModularGAN._get_one_hot_labels(labels)
    ModularGAN.model_fn(features, labels, params, mode)
    ModularGAN._train_discriminator(features, labels, step, optimizer, params)
    ModularGAN._train_generator(features, labels, step, optimizer, params)
    ModularGAN.create_loss(features, labels, params, is_training=True)
    ModularGAN.get_disc_optimizer(use_tpu=True)
    ModularGAN.get_gen_optimizer(use_tpu=True)
    ModularGAN._check_variables()
    z_generator(shape, distribution_fn=tf.random.uniform, minval=-1.0, maxval=1.0,
        stddev=1.0, name=None)
  """,
  "gans.loss_lib": """
    non_saturating(d_real_logits, d_fake_logits)
    wasserstein(d_real_logits, d_fake_logits)
    least_squares(d_real, d_fake)
    hinge(d_real_logits, d_fake_logits)
    get_losses(fn=non_saturating, **kwargs)
  """,
  "gans.penalty_lib": """
    no_penalty()
    dragan_penalty(discriminator, x, y, is_training)
    wgangp_penalty(discriminator, x, x_fake, y, is_training)
    l2_penalty(discriminator)
    get_penalty_loss(fn=no_penalty, **kwargs)
  """,
  "gans.ssgan": """
    SSGAN(self_supervision="rotation_gan", rotated_batch_size=gin.REQUIRED,
        weight_rotation_loss_d=1.0, weight_rotation_loss_g=0.2, **kwargs)
    SSGAN.create_loss(features, labels, params, is_training=True)
  """,
  "gans.s3gan": """
    S3GAN(self_supervision="rotation", rotated_batch_fraction=gin.REQUIRED,
        weight_rotation_loss_d=1.0, weight_rotation_loss_g=0.2, project_y=False,
        use_predictor=False, use_soft_pred=False, weight_class_loss=1.0,
        use_soft_labels=False, **kwargs)
    S3GAN.create_loss(features, labels, params, is_training=True)
  """,
  "gans.consts": """
    NORMAL_INIT = "normal"
    TRUNCATED_INIT = "truncated"
    ORTHOGONAL_INIT = "orthogonal"
    INITIALIZERS
    DCGAN_ARCH = "dcgan_arch"
    DUMMY_ARCH = "dummy_arch"
    INFOGAN_ARCH = "infogan_arch"
    RESNET5_ARCH = "resnet5_arch"
    RESNET30_ARCH = "resnet30_arch"
    RESNET_BIGGAN_ARCH = "resnet_biggan_arch"
    RESNET_BIGGAN_DEEP_ARCH = "resnet_biggan_deep_arch"
    RESNET_CIFAR_ARCH = "resnet_cifar_arch"
    RESNET_STL_ARCH = "resnet_stl_arch"
    SNDCGAN_ARCH = "sndcgan_arch"
    ARCHITECTURES
  """,
  "gans.ops": """
    random_uniform(shape, name=None)
    random_normal(shape, name=None)
  """,
  "gans.utils": """
    check_folder
    save_images
    rotate_images(images, rot90_scalars=(0, 1, 2, 3))
    gaussian(batch_size, n_dim, mean=0.0, var=1.0)
  """,
  "datasets": """
    DATASETS
    get_dataset(name, seed=547)
    ImageDatasetV2(name, tfds_name, resolution, colors, num_classes, eval_test_samples,
        seed)
    ImageDatasetV2.image_shape
    ImageDatasetV2.eval_test_samples
    ImageDatasetV2._train_split = "train"
    ImageDatasetV2._eval_split = "test"
    ImageDatasetV2._parse_fn(features)
    ImageDatasetV2._load_dataset(split)
    ImageDatasetV2._train_filter_fn(image, label)
    ImageDatasetV2._train_transform_fn(image, label, seed)
    ImageDatasetV2._eval_transform_fn(image, label, seed)
    ImageDatasetV2.train_input_fn(params=None, preprocess_fn=None)
    ImageDatasetV2.eval_input_fn(params=None, split=None)
    ImageDatasetV2.input_fn(params, mode=tf.estimator.ModeKeys.TRAIN,
        preprocess_fn=None)
    ImageDatasetV2.load_dataset(split_name)
  """,
  "runner_lib": """
    get_options_dict(batch_size, gan_class, architecture, training_steps,
        discriminator_normalization=None, lamba=1, disc_iters=1, z_dim=128)
    TaskManager(model_dir)
    TaskManager.model_dir
    TaskManager.mark_training_done()
    TaskManager.is_training_done()
    TaskManager.add_eval_result(checkpoint_path, result_dict, default_value)
    TaskManager.get_checkpoints_with_results()
    TaskManager.unevaluated_checkpoints(timeout=0, eval_every_steps=None)
    TaskManager.report_progress(message)
    TaskManagerWithCsvResults(model_dir, score_file=None)
    run_with_schedule(schedule, run_config, task_manager, options, use_tpu,
        num_eval_averaging_runs=1, eval_every_steps=-1)
  """,
  "eval_gan_lib": """
    z_generator(shape, distribution_fn=tf.random.uniform, minval=-1.0, maxval=1.0,
        stddev=1.0, name=None)
    evaluate_tfhub_module(module_spec, eval_tasks, use_tpu, num_averaging_runs)
  """,
  "eval_utils": """
    NanFoundError
    EvalDataSample(images)
    EvalDataSample.set_inception_features
    EvalDataSample.set_num_examples
    EvalDataSample.discard_images
    get_real_images(dataset, num_examples, split=None,
        failure_on_insufficient_examples=True)
    sample_fake_dataset(sess, generator, num_batches)
    inception_transform_np(inputs, batch_size)
    get_inception_graph_def()
  """,
  "metrics.eval_task": """
    EvalTask()
    EvalTask._LABEL
    EvalTask.metric_list()
    EvalTask.run_after_session(fake_dset, real_dset)
    EvalTask._create_session()
  """,
  "metrics.fid_score": """
    FIDScoreTask._LABEL = "fid_score"
    compute_fid_from_activations(fake_activations, real_activations)
  """,
  "metrics.inception_score": """
    InceptionScoreTask._LABEL = "inception_score"
  """,
  "metrics.kid_score": """
    KIDScoreTask._LABEL = "kid_score"
    kid(fake_activations, real_activations, max_batch_size=1024, dtype=None,
        return_stderr=False)
  """,
  "metrics.ms_ssim_score": """
    MultiscaleSSIMTask._LABEL = "ms_ssim"
    compute_msssim(generated_images, num_batches)
  """,
  "metrics.fractal_dimension": """
    FractalDimensionTask._LABEL = "fractal_dimension"
    compute_fractal_dimension(fake_images, num_fd_seeds=100, n_bins=1000, scale=0.1)
  """,
  "metrics.prd_score": """
    compute_prd(eval_dist, ref_dist, num_angles=1001, epsilon=1e-10)
    compute_prd_from_embedding(eval_data, ref_data, num_clusters=20, num_angles=1001,
        num_runs=10, enforce_balance=True)
    prd_to_max_f_beta_pair(precision, recall, beta=8)
    plot(precision_recall_pairs, labels=None, out_path=None, legend_loc="lower left",
        dpi=150)
  """,
  "metrics.jacobian_conditioning": """
    GeneratorConditionNumberTask
    compute_jacobian(xs, fx)
    analyze_jacobian(jacobian_array)
  """,
  "hooks": """
    EveryNSteps(every_n_steps)
    EveryNSteps.every_n_steps_after_run(step, run_context, run_values)
    ReportProgressHook(task_manager, max_steps, every_n_steps=100)
    AsyncCheckpointSaverHook
  """,
  "utils": """
    call_with_accepted_args(fn, **kwargs)
    get_parameter_overview(variables, limit=40)
    log_parameter_overview(variables, msg)
  """,
  "tpu.tpu_ops": """
    cross_replica_concat(value, replica_id, num_replicas)
    cross_replica_mean(inputs, group_size=None)
    cross_replica_moments(inputs, axis, parallel=True, group_size=None)
  """,
  "tpu.tpu_random": """
    add_random_offset_to_features(dataset, start=1)
    set_random_offset_from_features(features)
    uniform(shape, name=None)
    normal(shape, name=None)
  """,
  "tpu.tpu_summaries": """
    TpuSummaries(log_dir, save_summary_steps=250)
    TpuSummaries.image(name, tensor, reduce_fn)
    TpuSummaries.scalar(name, tensor, reduce_fn=tf.reduce_mean)
    TpuSummaries.get_host_call()
  """,
  "test_utils": """
    create_fake_inception_graph()
    Generator
    Discriminator
    CompareGanTestCase
  """,
}

# The name in gin, what it configures, and the parameters that can be bound. Parameters
# behind a / are refused.
_GIN_NAMES = """
  weights: architectures.arch_ops.weight_initializer, initializer stddev
  spectral_norm: architectures.arch_ops.spectral_norm, epsilon singular_value / inputs
  standardize_batch: architectures.arch_ops.standardize_batch, decay epsilon
      use_cross_replica_mean use_moving_averages / inputs is_training data_format
  no_batch_norm: architectures.arch_ops.no_batch_norm,
  batch_norm: architectures.arch_ops.batch_norm, / inputs is_training center scale name
  self_modulated_batch_norm: architectures.arch_ops.self_modulated_batch_norm,
      num_hidden / inputs z is_training use_sn center scale name
  conditional_batch_norm: architectures.arch_ops.conditional_batch_norm, use_bias /
      inputs y is_training use_sn center scale name
  G: architectures.abstract_arch.AbstractGenerator, batch_norm_fn spectral_norm / name
      image_shape
  D: architectures.abstract_arch.AbstractDiscriminator, batch_norm_fn layer_norm
      spectral_norm / name
  resnet_biggan.Generator: architectures.resnet_biggan.Generator, ch
      blocks_with_attention hierarchical_z embed_z embed_y embed_y_dim embed_bias
  resnet_biggan.Discriminator: architectures.resnet_biggan.Discriminator, ch
      blocks_with_attention project_y
  BigGanResNetBlock: architectures.resnet_biggan.BigGanResNetBlock, add_shortcut
      layer_norm spectral_norm batch_norm
  resnet_biggan_deep.Generator: architectures.resnet_biggan_deep.Generator, ch embed_y
      embed_y_dim experimental_fast_conv_to_rgb
  resnet_biggan_deep.Discriminator: architectures.resnet_biggan_deep.Discriminator, ch
      blocks_with_attention project_y
  BigGanDeepResNetBlock: architectures.resnet_biggan_deep.BigGanDeepResNetBlock,
      spectral_norm batch_norm
  resnet_cifar.Generator: architectures.resnet_cifar.Generator, hierarchical_z embed_z
      embed_y
  resnet_cifar.Discriminator: architectures.resnet_cifar.Discriminator, project_y
  ModularGAN: gans.modular_gan.ModularGAN, deprecated_split_disc_calls
      experimental_joint_gen_for_disc experimental_force_graph_unroll g_use_ema
      ema_decay ema_start_step g_optimizer_fn d_optimizer_fn g_lr d_lr conditional
      fit_label_distribution / dataset parameters model_dir
  SSGAN: gans.ssgan.SSGAN, self_supervision rotated_batch_size weight_rotation_loss_d
      weight_rotation_loss_g
  S3GAN: gans.s3gan.S3GAN, self_supervision rotated_batch_fraction
      weight_rotation_loss_d weight_rotation_loss_g project_y use_predictor
      use_soft_pred weight_class_loss use_soft_labels
  loss: gans.loss_lib.get_losses, fn
  non_saturating: gans.loss_lib.non_saturating,
  wasserstein: gans.loss_lib.wasserstein,
  least_squares: gans.loss_lib.least_squares,
  hinge: gans.loss_lib.hinge,
  penalty: gans.penalty_lib.get_penalty_loss, fn
  no_penalty: gans.penalty_lib.no_penalty,
  dragan_penalty: gans.penalty_lib.dragan_penalty,
  wgangp_penalty: gans.penalty_lib.wgangp_penalty,
  l2_penalty: gans.penalty_lib.l2_penalty,
  z: gans.modular_gan.z_generator, distribution_fn minval maxval stddev
  eval_z: eval_gan_lib.z_generator, distribution_fn minval maxval stddev
  dataset: datasets.get_dataset, name seed
  replace_labels: datasets.replace_labels, file_pattern
  train_imagenet_transform: datasets.train_imagenet_transform, crop_method
  eval_imagenet_transform: datasets.eval_imagenet_transform, crop_method
  options: runner_lib.get_options_dict, batch_size gan_class architecture training_steps
      discriminator_normalization lamba disc_iters z_dim
  run_config: runner_lib.get_run_settings, tf_random_seed single_core
      iterations_per_loop save_checkpoints_steps keep_checkpoint_max
  cross_replica_moments: tpu.tpu_ops.cross_replica_moments, parallel group_size
"""

_FLAGS = {
  "schedule": "train",
  "gin_config": [],
  "gin_bindings": [],
  "score_filename": "scores.csv",
  "num_eval_averaging_runs": 3,
  "eval_every_steps": 5000,
  "use_tpu": None,
  "tfds_data_dir": None,
  "data_fake_dataset": False,
  "data_shuffle_buffer_size": 10000,
  "data_reading_num_threads": 64,
}

# Name in gin, name in TensorFlow Datasets, shape, classes, splits, evaluated images.
_DATASETS = [
  ("mnist", "mnist", (28, 28, 1), 10, "train", "test", 10000),
  ("fashion-mnist", "fashion_mnist", (28, 28, 1), 10, "train", "test", 10000),
  ("cifar10", "cifar10", (32, 32, 3), 10, "train", "test", 10000),
  ("celeb_a", "celeb_a", (64, 64, 3), None, "train", "test", 10000),
  (
    *("lsun-bedroom", "lsun/bedroom", (128, 128, 3), None),
    *("train[:99%]", "train[99%:]", 30000),
  ),
  *[
    (name, "imagenet2012", (side, side, 3), classes, "train", "validation", 50000)
    for name, side, classes in [
      ("imagenet_64", 64, 1000),
      ("imagenet_128", 128, 1000),
      ("imagenet_256", 256, 1000),
      ("imagenet_512", 512, 1000),
      ("imagenet_512_hq400", 512, 1000),
      ("soft_labeled_imagenet_128", 128, 1000),
      ("single_class_imagenet_128", 128, 1),
      ("random_class_imagenet_128", 128, 1000),
      ("labeled_only_imagenet_128", 128, 1000),
    ]
  ],
]

# Their default is None here, since another name may decide, such as D.project_y or the
# paper's embed_labels. Where none does, it is compare_gan's default.
_DECIDED_ELSEWHERE = ("embed_y", "project_y")


def entries(table):
  """The entries of a table, each in one line."""
  table = inspect.cleandoc(table)
  return re.sub(r"\n\s+", " ", table).split("\n")


def module(name):
  return importlib.import_module(f"compare_gan_logits.{name}")


def find(scope, path):
  """What a dotted name means in a module, or None."""
  for part in path.split("."):
    scope = getattr(scope, part, None)
  return scope


def parameters(entry, scope):
  """{argument: inspect.Parameter} of an entry, by compare_gan and here."""
  name, arguments = re.fullmatch(r"([\w.]+)\((.*)\)", entry).groups()
  expected = eval(f"lambda {arguments}: None", {**vars(scope), "tf": tf, "gin": gin})
  found = dict(inspect.signature(find(scope, name)).parameters)
  if inspect.isclass(find(scope, name.rpartition(".")[0] or "?")):
    del found[next(iter(found))]  # self
  return dict(inspect.signature(expected).parameters), found


def difference(expected, found):
  """What keeps a call that is right for `expected` from meaning the same, or None."""
  for place, (name, argument) in enumerate(expected.items()):
    if argument.kind is argument.VAR_KEYWORD:
      if argument.kind not in [other.kind for other in found.values()]:
        return f"takes no **{name}"
      continue
    if name not in found:
      return f"has no argument {name}"
    if argument.kind is not argument.KEYWORD_ONLY:
      if list(found)[place] != name:
        return f"argument {place + 1} is {list(found)[place]}, not {name}"
      if found[name].kind is argument.KEYWORD_ONLY:
        return f"{name} cannot be passed without its name"
    default = found[name].default
    if name in _DECIDED_ELSEWHERE and default is None:
      continue
    if argument.default is not argument.empty and default != argument.default:
      default = "not there" if default is argument.empty else repr(default)
      return f"the default of {name} is {default}, not {argument.default!r}"
  for name, argument in found.items():
    optional = (argument.VAR_KEYWORD, argument.VAR_POSITIONAL)
    required = argument.default is argument.empty and argument.kind not in optional
    if name not in expected and required:
      return f"{name} is required"
  return None


def refuse(differences):
  if differences:
    pytest.fail("\n".join(differences), pytrace=False)


@pytest.mark.parametrize("name", _INTERFACE)
def test_a_module_has_compare_gan_s_names_arguments_and_defaults(name):
  scope, differences = module(name), []
  for entry in entries(_INTERFACE[name]):
    path = re.match(r"[\w.]+", entry).group()
    if not hasattr(find(scope, path.rpartition(".")[0]) or scope, path.split(".")[-1]):
      differences.append(f"{name}.{path} is missing")
    elif "(" in entry and " = " not in entry:
      trouble = difference(*parameters(entry, scope))
      differences += [f"{name}.{path}: {trouble}"] if trouble else []
    elif " = " in entry:
      value = eval(entry.partition(" = ")[2])
      if find(scope, path) != value:
        differences.append(f"{name}.{path} is {find(scope, path)!r}, not {value!r}")
  refuse(differences)


def test_gin_binds_compare_gan_s_names_and_parameters():
  differences = []
  for entry in entries(_GIN_NAMES):
    name, path, bound, _, refused = re.fullmatch(
      r"([\w.]+): ([\w.]+),([^/]*)(/(.*))?", entry
    ).groups(default="")
    scope, _, function = path.rpartition(".")
    try:
      same = gin.get_configurable(name) is gin.get_configurable(
        find(module(scope), function)
      )
    except ValueError:
      same = False
    if not same:
      differences.append(f"{name} in gin is not {path}")
      continue
    for parameter in (bound + refused).split():
      try:
        gin.bind_parameter(f"{name}.{parameter}", None)
        binds = True
      except ValueError:
        binds = False
      if binds != (parameter in bound.split()):
        differences.append(f"{name}.{parameter} can{'' if binds else 'not'} be bound")
  gin.clear_config()
  refuse(differences)


def test_flags_have_compare_gan_s_names_and_defaults():
  assert {name: flags.FLAGS[name].default for name in _FLAGS} == _FLAGS


def test_data_sets_have_compare_gan_s_names_shapes_and_splits():
  found = []
  for name, *_ in _DATASETS:
    one = datasets.get_dataset(name)
    described = name, one._tfds_name, one.image_shape, one.num_classes
    found.append((*described, one._train_split, one._eval_split, one.eval_test_samples))
  assert found == _DATASETS
