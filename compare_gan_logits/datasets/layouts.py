"""Recognises layouts: which pictures belong to which split and class.

Known are <split>/<class>/..., ImageNet and Tiny ImageNet as they are distributed,
WebDataset shards, Hugging Face's metadata.csv, class folders without splits, and
pictures without either. Splits have any of their usual spellings.
"""

from __future__ import annotations

import collections
import contextlib
import csv
import dataclasses
import hashlib
import io
import json
import os
import posixpath
import re
from collections.abc import Callable
from collections.abc import Iterable

from compare_gan_logits.datasets import examination
from compare_gan_logits.datasets.listing import File
from compare_gan_logits.datasets.listing import Listing
from compare_gan_logits.datasets.listing import composed
from compare_gan_logits.datasets.listing import printable
from compare_gan_logits.errors import UserError
from compare_gan_logits.errors import sentence


# How splits are called, in small letters.
_ROLES = {
  **dict.fromkeys(("train", "training", "trn"), "train"),
  **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
  **dict.fromkeys(("test", "testing", "tst"), "test"),
}
# Folders that hold all pictures of a split, and are no classes.
_CONTAINERS = {"images", "image", "imgs", "img", "jpegimages", "pictures", "photos"}
# Of a set without a validation split, the share that is held out for it.
HELD_OUT = 0.1
_HELD_OUT_SEED = 547
_FILE_COLUMNS = (
  "file_name",
  "filename",
  "file",
  "image",
  "imageid",
  "image_id",
  "path",
)
_LABEL_COLUMNS = ("label", "labels", "class", "class_name", "category", "wnid")
_UNKNOWN = None


@dataclasses.dataclass
class Layout:
  """Pictures by split.

  Attributes:
    pictures: {"train": [File], "validation": [File]} in the order of ids; a split that
      the folder does not have is missing.
    classes: for each split, the class name of each picture, or None.
    keys: for each split, the picture's name within it, wherever the folder lies.
    description: one sentence on what was recognised.
    notes: sentences on what was decided.
  """

  pictures: dict
  classes: dict
  keys: dict
  description: str
  notes: list


@dataclasses.dataclass
class _Picture:
  """A file and what its name says: role and spelling of the split, folders below it."""

  file: File
  role: str | None
  spelling: str
  folders: tuple
  label: str | None = None

  @property
  def key(self) -> str:
    return "/".join((*self.folders, posixpath.basename(self.file.name)))


def recognise(listing: Listing, labels: str | None = None) -> Layout:
  """Finds splits and classes.

  Args:
    listing: what lies below the folder; what is left out is added to it.
    labels: path of a table of files and labels, below the folder or elsewhere.

  Raises:
    UserError: there are no pictures, or two answers are equally good.
  """
  pictures = [_parse(file) for file in listing.pictures]
  if not pictures:
    raise UserError(_nothing(listing))
  notes: list = []
  if any(picture.role for picture in pictures):
    outside = [picture.file.name for picture in pictures if not picture.role]
    if outside:
      listing.left_out["pictures outside of the splits"].extend(outside)
    pictures = [picture for picture in pictures if picture.role]
  by_role = collections.defaultdict(list)
  for picture in pictures:
    by_role[picture.role].append(picture)
  splits = {role: _read_once(role, found, notes) for role, found in by_role.items()}
  roles = _assign(splits, listing, notes)
  for role, found in roles.items():
    roles[role] = _label(found, listing, labels, notes)
  if labels and not any(p.label for found in roles.values() for p in found):
    raise UserError(
      f"dataset.labels {labels!r} names none of the pictures, such as "
      f"{printable(pictures[0].file.name)}; its lines are a file and its class"
    )
  if set(roles) <= {"train"}:
    roles = _hold_out(roles["train"], splits, notes)
  ordered = {
    role: sorted(found, key=lambda p: (natural(p.label or ""), p.key))
    for role, found in roles.items()
  }
  return Layout(
    {role: [p.file for p in found] for role, found in ordered.items()},
    {role: [p.label for p in found] for role, found in ordered.items()},
    {role: [p.key for p in found] for role, found in ordered.items()},
    _describe(splits, ordered),
    notes,
  )


def natural(name: str) -> tuple:
  """A key by which 2 comes before 10."""
  parts = re.split(r"(\d+)", name)
  key = tuple((0, int(p), "") if p.isdecimal() else (1, 0, p) for p in parts if p)
  return key, name  # 1, 01 and 001 are not equal


def _nothing(listing):
  hints = "; ".join(
    f"{len(names)} {reason}, such as {printable(names[0])}"
    for reason, names in listing.left_out.items()
  )
  return (
    f"no images in {listing.root}, neither in splits that are called train and "
    "validation, nor in class folders, in tars of those or alone"
    + (f"; {hints}" if hints else "")
  )


# Splits ------------------------------------------------------------------------


def _parse(file):
  parts = file.name.split("/")[:-1]
  for i, part in enumerate(parts):
    bare = _bare(part)
    if bare.lower() in _ROLES:
      return _Picture(file, _ROLES[bare.lower()], bare, _folders(parts[i + 1 :]))
  for i, part in enumerate(parts):
    words = re.split(r"[^a-z]+", _bare(part).lower()) if part.endswith(".tar") else []
    roles = [word for word in words if word in _ROLES]
    if roles:
      return _Picture(file, _ROLES[roles[0]], roles[0], _folders(parts[i + 1 :]))
  return _Picture(file, None, "", _folders(parts))


def _bare(part):
  return part[:-4] if part.lower().endswith(".tar") else part


def _folders(parts):
  """Folders below a split; a tar is one if the pictures lie in it without others."""
  inner = [p for p in parts[:-1] if not p.lower().endswith(".tar")]
  return tuple(inner + [_bare(p) for p in parts[-1:]])


def _read_once(role, pictures, notes):
  """Leaves out what is there twice, as in a folder and in its tar."""
  by_key, kept, doubles = {}, [], 0
  for picture in sorted(pictures, key=lambda p: p.file.offset is not None):
    first = by_key.setdefault(picture.key, picture)
    if first is picture or not _same(first.file, picture.file):
      kept.append(picture)
    else:
      doubles += 1
  if doubles:
    notes.append(
      f"{doubles} {role or ''} pictures are there twice, with one name and content, as in "
      "a folder and in its tar; each is read once".replace("  ", " ")
    )
  return kept


def _same(one, other):
  return one.size == other.size and examination.sample(one) == examination.sample(other)


def _assign(splits, listing, notes):
  """{"train": pictures, "validation": pictures} of the splits that were found."""
  for role, pictures in splits.items():
    spellings = sorted({p.spelling for p in pictures}, key=str.lower)
    if len({spelling.lower() for spelling in spellings}) > 1:
      raise UserError(
        f"{listing.root} has {spellings[0]}/ and {spellings[1]}/, and both may be the "
        f"{role} split; rename or remove one of them"
      )
  if None in splits:
    return {"train": splits[None]}
  roles = {role: splits[role] for role in ("train", "validation") if role in splits}
  if "test" in splits and "validation" in splits:
    name = splits["test"][0].spelling
    notes.append(
      f"{name}/ is not used: {splits['validation'][0].spelling}/ is the validation "
      f"split ({len(splits['test'])} pictures left out)"
    )
  elif "test" in splits:
    roles["validation"] = splits["test"]
    notes.append(f"{splits['test'][0].spelling}/ is taken for the validation split")
  if "train" not in roles:
    notes.append("there is no split for training; experiments need none")
  return roles


def _hold_out(pictures, splits, notes):
  """Splits the pictures of each class in two, by a hash of their names."""

  def place(picture):
    text = f"{_HELD_OUT_SEED}:{picture.key}".encode("utf-8", "surrogateescape")
    return hashlib.sha256(text).digest()

  by_class = collections.defaultdict(list)
  for picture in sorted(pictures, key=place):
    by_class[picture.label].append(picture)
  train, held = [], []
  for found in by_class.values():
    number = max(1, round(HELD_OUT * len(found))) if len(found) > 1 else 0
    held += found[:number]
    train += found[number:]
  why = "no splits" if None in splits else "no split for validation"
  notes.append(
    f"there {'are' if None in splits else 'is'} {why}: {len(held)} of {len(pictures)} "
    "pictures, chosen by a hash of their names, are held out for validation"
  )
  return {"train": train, "validation": held} if held else {"train": train}


def _describe(splits, ordered):
  if None in splits:
    kind = "class folders without splits" if _any_label(ordered) else "pictures alone"
  else:
    kind = "splits " + ", ".join(f"{p[0].spelling}/" for p in splits.values())
    kind += "" if _any_label(ordered) else " without classes"
  return kind


def _any_label(ordered):
  return any(p.label is not None for found in ordered.values() for p in found)


# Labels ------------------------------------------------------------------------


def _label(pictures, listing, labels, notes):
  """Finds the class of each picture of a split; None where nothing says it."""
  if labels:
    _from_table(pictures, _labels_table(listing, labels), labels, notes)
    return pictures
  pictures = _class_folders(pictures, listing)
  if all(picture.label is not None for picture in pictures):
    return pictures
  sources: tuple[tuple[str, Callable], ...] = (
    ("the shards' .cls and .json files", _webdataset),
    ("val_annotations.txt", _annotations),
    ("metadata", _metadata),
    ("LOC_val_solution.csv", _solution),
    ("the development kit", _devkit),
  )
  unlabelled = [picture for picture in pictures if picture.label is None]
  name = unlabelled[0].spelling
  where = f"{name}/" if name else "the pictures"
  for source, read in sources:
    table = read(unlabelled, listing)
    if table:
      _from_table(unlabelled, table, source, notes, where)
      return pictures
  notes.append(f"{where} without classes: labels are not known")
  return pictures


def _class_folders(pictures, listing):
  """Labels by the first folder below the split."""
  while _wrapped(pictures):
    for picture in pictures:
      picture.folders = picture.folders[1:]
  loose = [p for p in pictures if not p.folders]
  if loose and len(loose) < len(pictures) - len(loose):
    listing.left_out["pictures beside the class folders"].extend(
      p.file.name for p in loose
    )
    pictures = [p for p in pictures if p.folders]
  elif loose:
    return pictures
  only = {p.folders[0].lower() for p in pictures}
  if len(only) == 1 and only <= _CONTAINERS:
    return pictures
  for picture in pictures:
    picture.label = picture.folders[0]
  return pictures


def _wrapped(pictures):
  """Whether all pictures lie in folders of one and the same folder."""
  return (
    all(len(p.folders) > 1 for p in pictures)
    and len({p.folders[0] for p in pictures}) == 1
    and len({p.folders[1] for p in pictures}) > 1
  )


def _from_table(pictures, table, source, notes, where="the pictures"):
  """Labels by {file name, with or without folders and ending: class}."""
  missing = []
  for picture in pictures:
    picture.label = next(
      (table[name] for name in _names(picture.file.name) if name in table), _UNKNOWN
    )
    if picture.label is None:
      missing.append(picture.file.name)
  notes.append(f"{where}: classes are those of {source}")
  if missing:
    notes.append(
      f"{source} does not name {len(missing)} of {len(pictures)} pictures, such as "
      f"{printable(missing[0])}; their labels are not known"
    )


def _names(name):
  """What a table may call a file: the longest name first."""
  parts = name.split("/")
  for i in range(len(parts)):
    yield "/".join(parts[i:])
  yield os.path.splitext(parts[-1])[0]


def _text(file):
  return file.read().decode("utf-8-sig", "replace")


def _tables(listing, *names):
  return [
    file
    for file in listing.tables
    if posixpath.basename(file.name).lower() in {name.lower() for name in names}
  ]


def _labels_table(listing, path):
  inside = os.path.join(listing.root, path)
  chosen = inside if os.path.isfile(inside) else os.path.expanduser(path)
  if not os.path.isfile(chosen):
    raise UserError(f"dataset.labels {path!r}: no such file, here or in {listing.root}")
  try:
    with open(chosen, encoding="utf-8-sig", errors="replace", newline="") as f:
      table = _read_csv(f.read(), "")
  except csv.Error as error:
    raise UserError(
      f"dataset.labels {path!r} is no table ({error}); below a line 'file,label' its "
      "lines are a file and its class"
    ) from None
  if not table:
    raise UserError(
      f"dataset.labels {path!r} lists no files and classes; below a line 'file,label' "
      "its lines are a file and its class"
    )
  return table


def _read_csv(text, folder):
  """{file: class} of a table with or without a line of column names."""
  delimiter = "\t" if "\t" in text[:4096] else ","
  rows = [row for row in csv.reader(io.StringIO(text), delimiter=delimiter) if row]
  if not rows or len(rows[0]) < 2:
    return {}
  head = [cell.strip().lower() for cell in rows[0]]
  files = [i for i, cell in enumerate(head) if cell in _FILE_COLUMNS]
  classes = [i for i, cell in enumerate(head) if cell in _LABEL_COLUMNS]
  if files and classes:
    rows, file, label = rows[1:], files[0], classes[0]
  else:
    file, label = 0, 1
  return {
    posixpath.normpath(folder + composed(row[file].strip())): composed(
      row[label].strip()
    )
    for row in rows
    if len(row) > max(file, label)
  }


@contextlib.contextmanager
def _naming(file):
  """Names a table that csv cannot read."""
  try:
    yield
  except csv.Error as error:
    raise UserError(
      f"{printable(file.name)} is no table ({error}); correct or remove it"
    ) from None


def _webdataset(pictures, listing):
  """Members with a picture's name and the ending .cls, or .json with a class."""
  tables = {os.path.splitext(f.name): f for f in listing.tables}
  table = {}
  for picture in pictures:
    if picture.file.offset is None:
      continue
    stem = os.path.splitext(picture.file.name)[0]
    for place in (stem, stem.rsplit(".", 1)[0]):
      texts = [tables[place, e] for e in (".cls", ".json") if (place, e) in tables]
      labels = [_member_label(text) for text in texts]
      if any(labels):
        table[picture.file.name] = composed(next(filter(None, labels)))
        break
  return table


def _member_label(file):
  text = _text(file).strip()
  return _json_label(text) if file.name.endswith(".json") else text


def _json_label(text):
  try:
    value = json.loads(text)
  except ValueError:
    return ""
  value = value if isinstance(value, dict) else {}
  return next((str(value[k]) for k in ("cls", *_LABEL_COLUMNS) if k in value), "")


def _annotations(pictures, listing):
  """Tiny ImageNet's table: file and class between tabs, then a box."""
  table = {}
  for file in _tables(listing, "val_annotations.txt"):
    for line in _text(file).splitlines():
      name, _, rest = line.partition("\t")
      table[name] = rest.split("\t")[0]
  return table if _any_named(pictures, table) else {}


def _metadata(pictures, listing):
  """Hugging Face's metadata.csv or metadata.jsonl, beside the pictures or above."""
  table = {}
  for file in _tables(listing, "metadata.csv", "metadata.jsonl"):
    folder = posixpath.dirname(file.name)
    folder = f"{folder}/" if folder else ""
    if file.name.lower().endswith(".csv"):
      head = _text(file).partition("\n")[0].lower()
      if any(re.search(rf"\b{column}\b", head) for column in _LABEL_COLUMNS):
        with _naming(file):
          table.update(_read_csv(_text(file), folder))
      continue
    for line in _text(file).splitlines():
      label = _json_label(line)
      if label:
        named = json.loads(line).get("file_name", "")
        if not isinstance(named, str):
          raise UserError(
            f"{printable(file.name)} has a file_name that is no text, {named!r}; correct "
            "or remove it"
          )
        table[posixpath.normpath(folder + named)] = composed(label)
  return table if _any_named(pictures, table) else {}


def _solution(pictures, listing):
  """ImageNet's table of the validation images, as Kaggle has it."""
  table = {}
  for file in _tables(listing, "LOC_val_solution.csv"):
    with _naming(file):
      rows = list(csv.DictReader(io.StringIO(_text(file))))
    for row in rows:
      words = (row.get("PredictionString") or "").split()
      if words:
        table[row.get("ImageId") or ""] = words[0]
  return table if _any_named(pictures, table) else {}


def _devkit(pictures, listing):
  """ImageNet's own: a number for each validation image, and what numbers mean."""
  truth = _tables(listing, "ILSVRC2012_validation_ground_truth.txt")
  synsets = _tables(listing, "meta.mat")
  if not truth or not synsets:
    return {}
  from scipy import io as scipy_io

  try:
    rows = scipy_io.loadmat(io.BytesIO(synsets[0].read()), squeeze_me=True)["synsets"]
    wnids = {int(row["ILSVRC2012_ID"]): str(row["WNID"]) for row in rows}
    table = {
      f"ILSVRC2012_val_{i + 1:08d}": wnids[int(number)]
      for i, number in enumerate(_text(truth[0]).split())
    }
  except Exception as error:  # scipy's have no base of their own
    raise UserError(
      f"ImageNet's development kit is damaged ({printable(synsets[0].name)} or "
      f"{printable(truth[0].name)}: {sentence(error)}); copy it again, or remove it"
    ) from None
  return table if _any_named(pictures, table) else {}


def _any_named(pictures: Iterable[_Picture], table: dict) -> bool:
  return any(name in table for p in pictures for name in _names(p.file.name))
