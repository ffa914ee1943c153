"""Which sets there are, which files they are made of, and where those come from."""

from dataclasses import dataclass

__all__ = ["PARTS", "SETS", "DataFile", "DataSet"]

PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class DataFile:
    """One file of a set: its name, what must be in it, and where it can be had.

    Args:
        folder: The folder it lies in, under `VAE_LIB_DATA` and in the cache.
        name: Its name there, and at every mirror.
        sha256: The hash of the whole file, as it is stored.
        size: Its length in bytes.
        shape: For an IDX file the shape of the array inside; else None.
        mirrors: Addresses of folders that hold it, tried in turn. None: it has no public address.

    Example:
        >>> SETS["mnist"].files[0].path
        'mnist/train-images-idx3-ubyte.gz'
    """

    folder: str
    name: str
    sha256: str
    size: int
    shape: tuple[int, ...] | None = None
    mirrors: tuple[str, ...] = ()

    @property
    def path(self) -> str:
        """Folder and name, as they are written in messages.

        Example:
            >>> SETS["frey_faces"].files[0].path
            'frey_faces/frey_faces.npz'
        """
        return f"{self.folder}/{self.name}"


@dataclass(frozen=True)
class DataSet:
    """What there is to know about a set before it is read.

    Args:
        name: The name for `load`.
        images: How many images (or points) it has, all parts together.
        size: The size of one, in words.
        licence: Under which terms it may be used.
        source: Whom to cite.
        files: The files it is read from; none if it is computed or comes with scikit-learn.

    Example:
        >>> SETS["mnist"].images, len(SETS["mnist"].files)
        (70000, 4)
    """

    name: str
    images: int
    size: str
    licence: str
    source: str
    files: tuple[DataFile, ...] = ()


_MNIST = (
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
)
_FASHION = (
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",  # the hash makes up for the missing s
)


def _idx_files(folder: str, mirrors: tuple[str, ...], *found: tuple[str, int]) -> tuple[DataFile, ...]:
    """The four files of the MNIST family: `found` gives the hash and the length of each."""
    named = (
        ("train-images-idx3-ubyte.gz", (60_000, 28, 28)),
        ("train-labels-idx1-ubyte.gz", (60_000,)),
        ("t10k-images-idx3-ubyte.gz", (10_000, 28, 28)),
        ("t10k-labels-idx1-ubyte.gz", (10_000,)),
    )
    return tuple(
        DataFile(folder, name, sha256, size, shape, mirrors)
        for (name, shape), (sha256, size) in zip(named, found, strict=True)
    )


_ALL = (
    DataSet(
        "digits",
        1_797,
        "8 × 8",
        "CC BY 4.0",
        "Alpaydin and Kaynak (1998), UCI Machine Learning Repository; comes with scikit-learn",
    ),
    DataSet(
        "mnist",
        70_000,
        "28 × 28",
        "none stated on the original page; catalogues list CC BY-SA 3.0",
        "LeCun, Bottou, Bengio, Haffner (1998), Proc. IEEE 86(11)",
        _idx_files(
            "mnist",
            _MNIST,
            ("440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609", 9_912_422),
            ("3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c", 28_881),
            ("8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6", 1_648_877),
            ("f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6", 4_542),
        ),
    ),
    DataSet(
        "fashion_mnist",
        70_000,
        "28 × 28",
        "MIT, copyright (c) 2017 Zalando SE",
        "Xiao, Rasul, Vollgraf (2017), arXiv:1708.07747",
        _idx_files(
            "fashion_mnist",
            _FASHION,
            ("3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84", 26_421_880),
            ("a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845", 29_515),
            ("346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073", 4_422_102),
            ("67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5", 5_148),
        ),
    ),
    DataSet(
        "binarized_mnist",
        70_000,
        "28 × 28",
        "none stated; a derivative of MNIST",
        "Salakhutdinov and Murray (2008), ICML; Larochelle and Murray (2011), AISTATS",
        (
            DataFile(
                "binarized_mnist",
                "binarized_mnist_packed.npz",
                "50de2c8299a5a297789293ab2c30f6fc3cb8c359a15e5e88d5501aa18ebb8fa5",
                2_295_919,
            ),
        ),
    ),
    DataSet(
        "omniglot",
        32_460,
        "28 × 28 or 105 × 105",
        "MIT, copyright (c) 2015 Brenden Lake",
        "Lake, Salakhutdinov, Tenenbaum (2015), Science 350; not the 28 × 28 file of Burda et al.",
        (
            DataFile(
                "omniglot",
                "omniglot_28x28_box.npz",
                "9762d8cc4edf81e68a51f3484297a1f674ec85c498b9aaee44c69ecaf3293fa2",
                4_140_252,
            ),
            DataFile(
                "omniglot",
                "images_background.npz",
                "8bf84167413cd00beacdce3fe582f780ab538d8dbef043a6d688f2527bbce199",
                3_340_794,
            ),
            DataFile(
                "omniglot",
                "images_evaluation.npz",
                "0b84c7ffd94c4841c0040e529c86a82eaaccb986d8eadad5673f7991b7475276",
                2_415_269,
            ),
        ),
    ),
    DataSet(
        "frey_faces",
        1_965,
        "28 × 20",
        "none known; it shows an identifiable person",
        "Brendan Frey; Sam Roweis's data page",
        (
            DataFile(
                "frey_faces",
                "frey_faces.npz",
                "3c70375e0a9c4751ad49ad5f1f692bd094c46f133cf4aa8ea77d1cb14e1efcd1",
                996_890,
            ),
        ),
    ),
    DataSet("glyphs", 7_776, "28 × 28", "MIT, as this course", "drawn by vae_lib from known factors"),
    DataSet("ring", 14_000, "2 numbers", "MIT, as this course", "drawn by vae_lib; Doersch (2016), figure 2"),
)

SETS = {one.name: one for one in _ALL}
