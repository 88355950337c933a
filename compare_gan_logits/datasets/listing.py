"""Finds the picture files of a folder, in subfolders, links and tars.

Tars are read in place, and nothing is ever extracted. A tar counts as a folder with its
name, and so does a tar inside of a tar.
"""

from __future__ import annotations

import collections
import dataclasses
import io
import os
import posixpath
import stat
import tarfile
import unicodedata
from typing import Any
from typing import NamedTuple

from compare_gan_logits import images as image_lib
from compare_gan_logits.errors import UserError


# What operating systems, file servers and editors leave behind. Names that start with
# a dot are theirs as well.
_LITTER = {
  "__macosx",
  "@eadir",
  "#recycle",
  "$recycle.bin",
  "system volume information",
  "lost+found",
  "thumbs.db",
  "ehthumbs.db",
  "desktop.ini",
  "icon\r",
}
# Files that say something of the pictures beside them.
_TABLES = (".csv", ".tsv", ".txt", ".json", ".jsonl", ".cls", ".mat")
_NO_PICTURES = (*_TABLES, ".xml", ".html", ".md", ".pdf", ".py", ".npy", ".npz", ".log")
_COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst", ".zip", ".7z")
_MAX_DEPTH = 64


class File(NamedTuple):
  """A file in a folder or a tar.

  Attributes:
    name: its path below the root, with "/" between, in composed Unicode (NFC); what a
      file's name has that is no UTF-8 is kept as surrogates. A tar is a part of it.
    path: of the file on disk.
    offset, size: of its bytes there, offset None for a whole file.
    stamp: times and number of the file on disk, which change when it is replaced.
  """

  name: str
  path: str
  offset: int | None
  size: int
  stamp: tuple

  def read(self, size: int | None = None, start: int = 0) -> bytes:
    """Its bytes, or `size` of them from `start`."""
    size = self.size - start if size is None else min(size, self.size - start)
    if self.offset is None:
      image_lib.check_regular(self.path, printable(self.name))
    try:
      with open(self.path, "rb") as f:
        f.seek((self.offset or 0) + start)
        return f.read(size)
    except OSError as error:
      raise UserError(
        f"{printable(self.path)} cannot be read ({error.strerror}); put it back, or "
        "start again without it"
      ) from None


@dataclasses.dataclass
class Listing:
  """What lies below a folder.

  Attributes:
    root: the folder.
    pictures: list of File.
    tables: list of File, texts that may say what the pictures are.
    left_out: reason -> names, of what may have been meant as pictures.
    others: ending -> number of files that are no pictures.
  """

  root: str
  pictures: list = dataclasses.field(default_factory=list)
  tables: list = dataclasses.field(default_factory=list)
  left_out: dict = dataclasses.field(
    default_factory=lambda: collections.defaultdict(list)
  )
  others: collections.Counter = dataclasses.field(default_factory=collections.Counter)

  def left_out_notes(self) -> list[str]:
    """A line for each reason for which something was left out, with an example."""
    return [
      f"left out, {reason}: {len(names)}, such as {printable(names[0])}"
      for reason, names in self.left_out.items()
    ]

  def take(self, file: File) -> None:
    """Puts a file where it belongs."""
    ending = os.path.splitext(file.name)[1].lower()
    if ending in image_lib.endings():
      self.pictures.append(file)
    elif file.name.lower().endswith(_COMPRESSED):
      self.left_out["compressed archives are not read; unpack them"].append(file.name)
    elif ending in _NO_PICTURES:
      self.others[ending] += 1
      if ending in _TABLES:
        self.tables.append(file)
    elif _starts_like_picture(file):
      self.pictures.append(file)
    else:
      self.others[ending or "(no ending)"] += 1


def scan(root: str, archives: bool = True) -> Listing:
  """Everything below a folder.

  Args:
    root: the folder.
    archives: look into tars.

  Raises:
    UserError: a tar is damaged, or the folder cannot be read.
  """
  listing = Listing(root)
  _scan_folder(listing, root, "", (), archives)
  return listing


def is_litter(name: str) -> bool:
  """Whether a system or an editor left this file or folder behind."""
  return name.startswith(".") or name.lower() in _LITTER


def printable(name: str) -> str:
  """A name that can be printed, whatever bytes it has."""
  return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def composed(name: str) -> str:
  """A name in composed Unicode: one name, however it was typed."""
  return unicodedata.normalize("NFC", name)


def _starts_like_picture(file):
  try:
    return image_lib.looks_like_picture(file.read(64))
  except UserError:
    return False


# Folders -----------------------------------------------------------------------


def _scan_folder(listing, folder, prefix, above, archives):
  """Lists a folder; `above` has the identities of the folders that lead to it."""
  try:
    identity = os.stat(folder)
    entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
  except OSError as error:
    if not above:
      raise UserError(f"{folder} cannot be read ({error.strerror})") from None
    listing.left_out[f"folders that cannot be read ({error.strerror})"].append(prefix)
    return
  identity = identity.st_dev, identity.st_ino
  if identity in above or len(above) > _MAX_DEPTH:
    listing.left_out["links that lead back to a folder above them"].append(prefix)
    return
  for entry in entries:
    if is_litter(entry.name):
      continue
    name = composed(prefix + entry.name)
    try:
      facts = entry.stat()
    except OSError:
      listing.left_out["links to nothing"].append(name)
      continue
    if stat.S_ISDIR(facts.st_mode):
      _scan_folder(listing, entry.path, f"{name}/", (*above, identity), archives)
    elif not stat.S_ISREG(facts.st_mode):
      listing.left_out["pipes and devices, which are no files"].append(name)
    else:
      stamp = facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino
      file = File(name, entry.path, None, facts.st_size, stamp)
      if entry.name.lower().endswith(".tar"):
        if archives:
          _scan_tar(listing, file)
      else:
        listing.take(file)


# Tars --------------------------------------------------------------------------


def _scan_tar(listing, archive):
  """Lists the members of a tar; its links are followed inside of it."""
  try:
    with _opened(archive) as tar:
      members = list(_members(tar, listing, archive))
  except (tarfile.TarError, OSError, EOFError, ValueError) as error:
    raise UserError(
      f"{printable(archive.path)} is not a readable tar ({error}); make it again"
    ) from None
  regular = {name: member for name, member in members if member.isreg()}
  for name, member in members:
    target = member
    if not member.isreg():
      target = regular.get(_target(name, member))
      if target is None:
        listing.left_out["links to what their tar does not hold"].append(
          f"{archive.name}/{name}"
        )
        continue
    file = File(
      composed(f"{archive.name}/{name}"),
      archive.path,
      (archive.offset or 0) + target.offset_data,
      target.size,
      archive.stamp,
    )
    if name.lower().endswith(".tar"):
      _scan_tar(listing, file)
    else:
      listing.take(file)


def _opened(archive):
  if archive.offset is None:
    return tarfile.open(archive.path, "r:")
  return tarfile.open(fileobj=_Part(archive), mode="r:")


def _members(tar, listing, archive):
  """(name, member) of the files and links of a tar that lie inside of it."""
  for member in tar:
    name = posixpath.normpath(member.name)
    parts = name.split("/")
    if member.isdir() or any(is_litter(part) for part in parts if part != ".."):
      continue
    if not (member.isreg() or member.islnk() or member.issym()):
      continue
    if name.startswith("/") or ".." in parts:
      listing.left_out["names that lead out of their tar"].append(
        f"{archive.name}/{member.name}"
      )
      continue
    yield name, member


def _target(name, member):
  """Name of the member that a link stands for."""
  if member.islnk():
    return posixpath.normpath(member.linkname)
  return posixpath.normpath(posixpath.join(posixpath.dirname(name), member.linkname))


class _Part(io.RawIOBase):
  """A tar inside of a tar, as a file of its own."""

  def __init__(self, file: File) -> None:
    super().__init__()
    self._file = open(file.path, "rb")  # noqa: SIM115, closed in close
    self._start, self._size, self._at = file.offset or 0, file.size, 0

  def readable(self) -> bool:
    return True

  def seekable(self) -> bool:
    return True

  def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
    base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
    self._at = base + offset
    return self._at

  def tell(self) -> int:
    return self._at

  def readinto(self, buffer: Any) -> int:
    size = max(0, min(len(buffer), self._size - self._at))
    self._file.seek(self._start + self._at)
    data = self._file.read(size)
    buffer[: len(data)] = data
    self._at += len(data)
    return len(data)

  def close(self) -> None:
    self._file.close()
    super().close()
