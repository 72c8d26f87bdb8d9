"""XML files: what an XML parser reads is read alike, and what it refuses is salvaged."""

from __future__ import annotations

import os
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from categorize.danmu.elements import ElementReader
from categorize.danmu.fields import head
from categorize.danmu.opening import TextFile

P = "12.3,1,25,16777215,1626077354,0,a2d376ad,51870527213010951"


def read(path: Path) -> tuple[list[str], list[str], ElementReader]:
    """Row ids, texts and the reader, once it is through."""
    reader = ElementReader(TextFile(path))
    ids: list[str] = []
    texts: list[str] = []
    rejected = 0
    for batch in reader.batches():
        ids += [head.split(",")[7] for head in batch.heads]
        texts += batch.texts
        rejected += len(batch.rejected)
    assert reader.found == len(texts) + rejected
    return ids, texts, reader


def write(path: Path, body: str) -> Path:
    path.write_text(
        f'<?xml version="1.0" encoding="UTF-8"?><i><chatid>42</chatid><maxlimit>8000</maxlimit>{body}', "utf-8"
    )
    return path


@given(texts=st.lists(st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=30), max_size=5))
def test_what_an_xml_parser_reads_is_read_alike(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    root = ET.Element("i")
    ET.SubElement(root, "chatid").text = "42"
    for i, text in enumerate(texts):
        ET.SubElement(root, "d", p=P + str(i)).text = text
    path = tmp_path_factory.getbasetemp() / "same.xml"
    ET.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)
    expected = [(d.get("p", "").split(",")[7], d.text or "") for d in ET.parse(path).getroot().iter("d")]
    ids, found, _ = read(path)
    assert list(zip(ids, found, strict=True)) == expected


@given(cut=st.integers(0, 600), noise=st.text(max_size=6))
def test_no_damage_crashes_and_no_element_is_lost(
    tmp_path_factory: pytest.TempPathFactory, cut: int, noise: str
) -> None:
    body = "".join(f'<d p="{P}{i}">text {i} &amp; more</d>\n' for i in range(6)) + "</i>"
    path = tmp_path_factory.getbasetemp() / "damaged.xml"
    damaged = body[:cut] + noise.encode("utf-8", "replace").decode() + body[cut + len(noise) :]
    write(path, damaged)
    ids, _, reader = read(path)
    assert reader.found == len(re.findall(r"<d(?=[\s/>])", re.sub(r"<!--.*?-->", "", damaged, flags=re.DOTALL)))
    assert len(ids) >= 4


@pytest.mark.parametrize(
    ("element", "text"),
    [
        (f"<d p='{P}'>single quotes</d>", "single quotes"),
        (f'<d user="x" p="{P}" raw="1">other attributes</d>', "other attributes"),
        (f'<d p="{P},10">nine fields</d>', "nine fields"),
        (f'<d p="{P}"/>', ""),
        (f'<d p="{P}"></d>', ""),
        (f'<d p="{P}"><![CDATA[a < b & c</d>]]></d>', "a < b & c</d>"),
        (f'<d p="{P}">two\r\nlines</d>', "two\nlines"),
        (f'<d p="{P}">bell\x07 and nul\x00</d>', "bell\x07 and nul\x00"),
        (f'<d p="{P}">a & b < c</d>', "a & b < c"),
        (f'<d p="{P}">&#128512;&#x4E2D;&#0;&lt;&quot;</d>', "\U0001f600中\x00<\""),
        ('<d p="51870527213010951,0,12300,1,25,16777215,1626077354,0,a2d376ad">other order</d>', "other order"),
    ],
)  # fmt: skip
def test_an_element_is_read(element: str, text: str, tmp_path: Path) -> None:
    path = write(tmp_path / "one.xml", f"<!-- <d p='{P}'>no</d> -->{element}</i>")
    path.write_bytes(path.read_bytes().replace(b"\r\r\n", b"\r\n"))
    ids, texts, reader = read(path)
    assert texts == [text]
    assert ids == ["51870527213010951"]
    assert reader.header == {"chatid": "42", "maxlimit": "8000"}


@pytest.mark.parametrize(
    ("element", "reason"),
    [
        ('<d p="1,2,3">x</d>', "p has 3 fields, not 8 or 9"),
        ('<d p="12.3,1,25,16777215,yesterday,0,a2d376ad,51">x</d>', "sent_at is not a time: 'yesterday'"),
        ("<d>x</d>", "the element has no attribute p"),
        (f'<d p="{P}">never closed<e></e>', "the element has no end"),
    ],
)
def test_a_broken_element_is_rejected_and_says_why(element: str, reason: str, tmp_path: Path) -> None:
    path = write(tmp_path / "broken.xml", f'{element}<d p="{P}">whole</d></i>')
    batch = next(ElementReader(TextFile(path)).batches())
    assert [(number, why) for number, why, _ in batch.rejected] == [(1, reason)]
    assert batch.texts == ["whole"]


def test_a_truncated_file_keeps_what_is_whole(tmp_path: Path) -> None:
    body = "".join(f'<d p="{P}">text {i}</d>' for i in range(10))
    path = write(tmp_path / "cut.xml", body[:-12])
    _, texts, reader = read(path)
    assert texts == [f"text {i}" for i in range(9)]
    assert reader.found == 10


def test_elements_across_pieces_of_a_large_file_are_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from categorize.danmu import elements, opening

    monkeypatch.setattr(elements, "_BATCH", 50)
    monkeypatch.setattr(opening, "_CHUNK", 37)
    body = "".join(f'<d p="{P}">文字 {i} <!-- <d --></d>\r\n' for i in range(50))
    _, texts, _ = read(write(tmp_path / "large.xml", body + "</i>"))
    assert texts == [f"文字 {i} " for i in range(50)]


def test_shapes_tell_the_order_of_the_fields() -> None:
    assert head(P) == head(P + ",10") == (P, "")
    assert head("51870527213010951,0,12300,1,25,16777215,1626077354,0,a2d376ad") == (P, "")


@pytest.mark.skipif("CATEGORIZE_DATA" not in os.environ, reason="CATEGORIZE_DATA names no data folder")
@pytest.mark.parametrize("name", ["dfm", "ja", "mode7", "zh_2011"])
def test_real_files_read_as_an_xml_parser_reads_them(name: str) -> None:
    import gzip

    path = Path(os.environ["CATEGORIZE_DATA"]) / "danmaku_raw" / f"bili_8field_{name}.xml.gz"
    with gzip.open(path) as file:
        expected = [(d.get("p", "").split(",")[7], d.text or "") for d in ET.parse(file).getroot().iter("d")]
    ids, texts, reader = read(path)
    assert list(zip(ids, texts, strict=True)) == expected
    assert reader.found == len(expected) > 300
