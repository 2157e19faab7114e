"""The Merkle tree against published vectors, a naive model, and mutated proofs."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ambient_vcp.domain.errors import InvalidInputError
from ambient_vcp.domain.log.merkle import (
    EMPTY_ROOT,
    Frontier,
    consistency_proof,
    frontier_at,
    inclusion_proof,
    leaf_hash,
    node_hash,
    root_of,
    verify_consistency,
    verify_inclusion,
)

# Inputs and roots of the reference tree tests of the certificate-transparency project (RFC 6962).
CT_LEAVES = [
    bytes.fromhex(each)
    for each in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
CT_ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
CT_INCLUSION = {
    (0, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
}
CT_CONSISTENCY = {
    (1, 1): [],
    (1, 8): CT_INCLUSION[0, 8],
    (6, 8): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 5): [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}

SIZES = st.integers(min_value=1, max_value=130)


def naive_root(hashes):
    """RFC 9162 section 2.1.1, word by word."""
    if not hashes:
        return hashlib.sha256(b"").digest()
    if len(hashes) == 1:
        return hashes[0]
    split = 1
    while split * 2 < len(hashes):
        split *= 2
    return node_hash(naive_root(hashes[:split]), naive_root(hashes[split:]))


def tree_of(leaves):
    frontier, nodes = Frontier(), {}
    for data in leaves:
        frontier, completed = frontier.append(leaf_hash(data))
        nodes |= {(node.level, node.index): node.hash for node in completed}
    return frontier, nodes, lambda level, index: nodes[level, index]


def numbered(size):
    return [str(number).encode() for number in range(size)]


@pytest.mark.parametrize("size", range(9))
def test_roots_are_those_of_the_reference_vectors(size):
    frontier, _, _ = tree_of(CT_LEAVES[:size])
    assert frontier.root().hex() == CT_ROOTS[size]
    assert root_of([leaf_hash(data) for data in CT_LEAVES[:size]]) == frontier.root()


def test_the_empty_tree_has_the_hash_of_nothing_as_root():
    assert Frontier().root() == EMPTY_ROOT == bytes.fromhex(CT_ROOTS[0])


@pytest.mark.parametrize(("index", "size"), CT_INCLUSION)
def test_inclusion_proofs_are_those_of_the_reference_vectors(index, size):
    _, _, lookup = tree_of(CT_LEAVES)
    proof = inclusion_proof(index, size, lookup)
    assert [each.hex() for each in proof] == CT_INCLUSION[index, size]


@pytest.mark.parametrize(("old", "new"), CT_CONSISTENCY)
def test_consistency_proofs_are_those_of_the_reference_vectors(old, new):
    _, _, lookup = tree_of(CT_LEAVES)
    proof = consistency_proof(old, new, lookup)
    assert [each.hex() for each in proof] == CT_CONSISTENCY[old, new]


@given(size=st.integers(min_value=0, max_value=130))
def test_frontier_gives_the_root_of_the_recursive_definition(size):
    leaves = numbered(size)
    frontier, nodes, lookup = tree_of(leaves)
    assert frontier.root() == naive_root([leaf_hash(data) for data in leaves])
    assert frontier_at(size, lookup) == frontier
    assert len(nodes) == 2 * size - size.bit_count()


@given(data=st.data(), size=SIZES, stored=st.integers(min_value=0, max_value=40))
def test_every_inclusion_proof_verifies_and_needs_few_lookups(data, size, stored):
    index = data.draw(st.integers(min_value=0, max_value=size - 1))
    frontier, _, _ = tree_of(numbered(size))
    _, _, full_lookup = tree_of(numbered(size + stored))
    asked = []

    def lookup(level, position):
        asked.append((level, position))
        return full_lookup(level, position)

    path = inclusion_proof(index, size, lookup)
    leaf = leaf_hash(numbered(size)[index])
    assert verify_inclusion(leaf, index=index, size=size, path=path, root=frontier.root())
    assert len(asked) <= 2 * size.bit_length()


@given(data=st.data(), size=SIZES)
def test_every_consistency_proof_verifies(data, size):
    old = data.draw(st.integers(min_value=0, max_value=size))
    _, _, lookup = tree_of(numbered(size))
    assert verify_consistency(
        old_size=old,
        old_root=frontier_at(old, lookup).root(),
        new_size=size,
        new_root=frontier_at(size, lookup).root(),
        path=consistency_proof(old, size, lookup),
    )


def mutations_of(path):
    """Each entry with one bit changed, one removed, one doubled, one too short, and a swap."""
    for place, entry in enumerate(path):
        flipped = bytes([entry[0] ^ 1]) + entry[1:]
        yield [*path[:place], flipped, *path[place + 1 :]]
        yield [*path[:place], *path[place + 1 :]]
        yield [*path[:place], entry, *path[place:]]
        yield [*path[:place], entry[:-1], *path[place + 1 :]]
    yield [*path, bytes(32)]
    yield [bytes(32), *path]
    if len(path) > 1 and path[0] != path[1]:
        yield [path[1], path[0], *path[2:]]


@given(data=st.data(), size=SIZES)
def test_a_mutated_inclusion_proof_is_refused(data, size):
    index = data.draw(st.integers(min_value=0, max_value=size - 1))
    frontier, _, lookup = tree_of(numbered(size))
    path, leaf = list(inclusion_proof(index, size, lookup)), leaf_hash(str(index).encode())
    root = frontier.root()
    for mutated in mutations_of(path):
        assert not verify_inclusion(leaf, index=index, size=size, path=mutated, root=root)
    assert not verify_inclusion(leaf_hash(b"x"), index=index, size=size, path=path, root=root)
    assert not verify_inclusion(leaf, index=index, size=size, path=path, root=bytes(32))
    for other in {*range(size), -1, size} - {index}:
        assert not verify_inclusion(leaf, index=other, size=size, path=path, root=root)


@given(data=st.data(), size=st.integers(min_value=2, max_value=70))
def test_a_mutated_consistency_proof_is_refused(data, size):
    old = data.draw(st.integers(min_value=1, max_value=size - 1))
    _, _, lookup = tree_of(numbered(size))
    roots = [frontier_at(each, lookup).root() for each in range(size + 1)]
    path = list(consistency_proof(old, size, lookup))

    def accepts(old_size=old, old_root=roots[old], new_root=roots[size], path=path):
        return verify_consistency(
            old_size=old_size, old_root=old_root, new_size=size, new_root=new_root, path=path
        )

    assert accepts()
    assert not any(accepts(path=mutated) for mutated in mutations_of(path))
    assert not accepts(path=[])
    assert not accepts(old_root=roots[size], new_root=roots[old])
    for other in set(range(size + 1)) - {old}:
        assert not accepts(old_root=roots[other])
        assert not accepts(new_root=roots[other]) or other == size


def test_a_leaf_cannot_pass_for_an_inner_node():
    left, right = leaf_hash(b"a"), leaf_hash(b"b")
    assert leaf_hash(left + right) != node_hash(left, right)


@pytest.mark.parametrize(("index", "size"), [(-1, 3), (3, 3), (0, 0)])
def test_a_proof_outside_the_tree_is_refused(index, size):
    _, _, lookup = tree_of(numbered(3))
    with pytest.raises(InvalidInputError):
        inclusion_proof(index, size, lookup)


def test_a_consistency_proof_towards_a_smaller_tree_is_refused():
    _, _, lookup = tree_of(numbered(3))
    with pytest.raises(InvalidInputError):
        consistency_proof(3, 2, lookup)
