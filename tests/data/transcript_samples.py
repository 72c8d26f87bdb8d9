"""Invented transcripts in the shapes that recorders, recognizers and subtitle editors write."""

from __future__ import annotations

from typing import Any

VTT = """WEBVTT - meeting
Kind: captions

NOTE written by hand
over two lines

STYLE
::cue { color: red }

intro
00:01.000 --> 00:04.000 line:0
<v.loud Ann Lee>Hello <b>you</b> &amp; me,
how are you?</v>
<v Bob>Fine.</v>

00:05.000 --> 00:06.000
<v Bob>And <c.yellow>you</c><00:05.500>?

NOTE the end
"""
SRT = """1
00:00:01,000 --> 00:00:02,000
{\\an8}<i>ANN:</i> Hello.

2
00:00:01,500 --> 00:00:03,000
BOB: Hi!
ANN: How are you?

3
00:00:03,500 --> 00:00:04,000
<font color="#fff">Well &lt;3?</font>
"""
ROLLING = """WEBVTT
Kind: captions
Language: en

00:00:00.240 --> 00:00:03.830 align:start position:0%
&nbsp;
a<00:00:00.690><c> rolling</c><00:00:01.050><c> line</c>

00:00:03.830 --> 00:00:03.840 align:start position:0%
a rolling line
&nbsp;

00:00:03.840 --> 00:00:06.000 align:start position:0%
a rolling line
comes<00:00:04.530><c> again</c>

00:00:06.000 --> 00:00:06.010 align:start position:0%
comes again
&nbsp;

00:00:06.010 --> 00:00:08.000 align:start position:0%
comes again
comes again
"""
ZOOM_VTT = """WEBVTT

1
00:02:24.720 --> 00:02:32.850
Jane Doe: so: what is it like?

2
00:02:33.480 --> 00:02:33.990
bob: it's really.

3
00:02:35.130 --> 00:02:36.900
bob: it's new.
"""
ASS = """[Script Info]
ScriptType: v4.00+

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
Dialogue: 0,0:00:05.00,0:00:06.00,Default,Ann,0,0,0,,{\\i1}second{\\i0}, with a comma\\Nand a line
Dialogue: 0,0:00:01.00,0:00:02.50,Default,Bob,0,0,0,,first
Dialogue: 1,0:00:01.00,0:00:02.50,Default,Bob,0,0,0,,first
Dialogue: 0,0:00:02.00,0:00:02.50,Default,,0,0,0,,{\\p1}m 0 0 l 1 1{\\p0}
Comment: 0,0:00:02.00,0:00:02.50,Default,,0,0,0,,not shown
"""


def word(text: str, start: float, speaker: str) -> dict[str, Any]:
    return {"word": text, "start": start, "end": start + 0.4, "speaker": speaker}


WHISPER = {
    "text": " Hello there. Bye.",
    "language": "en",
    "segments": [
        {"id": 0, "start": 0.0, "end": 2.5, "text": " Hello there.", "tokens": [1]},
        {"id": 1, "start": 2.5, "end": 4.0, "text": " Bye."},
    ],
}
WHISPERX = {
    "segments": [
        {
            "start": 0.0,
            "end": 2.5,
            "text": "Ah? Well.",
            "words": [word("Ah?", 0, "SPEAKER_00"), word("Well.", 1, "SPEAKER_01")],
        },
        {"start": 2.5, "end": 4.0, "text": "S", "speaker": "SPEAKER_01"},
        {"start": 4.0, "end": 5.0, "text": "O"},
    ]
}
PIPELINE = {
    "text": "你好。再见。",
    "chunks": [{"timestamp": [0.0, 2.0], "text": "你好。"}, {"timestamp": [2.0, None], "text": "再见。"}],
}
WHISPER_CPP = {"transcription": [{"timestamps": {"from": "00:00:01,000", "to": "00:00:02,500"}, "text": " Hello."}]}
WORDS = {"text": "it is so", "words": [{"word": w, "start": i, "end": i + 1} for i, w in enumerate(["it", "is", "so"])]}


def spoken(text: str, start: float) -> dict[str, Any]:
    times = {"start_time": str(start), "end_time": str(start + 0.4)}
    return {"type": "pronunciation", **times, "alternatives": [{"confidence": "0.9", "content": text}]}


def mark(text: str) -> dict[str, Any]:
    return {"type": "punctuation", "alternatives": [{"confidence": "0.0", "content": text}]}


def spoken_by(label: str, *starts: float) -> dict[str, Any]:
    items = [{"start_time": str(start), "speaker_label": label} for start in starts]
    return {"start_time": str(starts[0]), "end_time": "9", "speaker_label": label, "items": items}


ITEMS = [spoken("Is", 0.0), spoken("it", 0.5), mark("?"), spoken("Yes", 1.5), mark(",")]
AMAZON = {
    "jobName": "j",
    "results": {
        "transcripts": [{"transcript": "Is it? Yes,"}],
        "speaker_labels": {"speakers": 2, "segments": [spoken_by("spk_0", 0.0, 0.5), spoken_by("spk_1", 1.5)]},
        "items": ITEMS,
    },
}
CHANNELS = {
    "results": {
        "channel_labels": {
            "channels": [
                {"channel_label": "ch_0", "items": ITEMS[:3]},
                {"channel_label": "ch_1", "items": [spoken("Yes", 0.2), mark(".")]},
            ]
        },
        "items": [],
    }
}
ZOOM_TEXT = "[Jane Doe] 14:05:12\nHello everyone.\nShall we?\n\n[王小明] 14:05:20\n好的\n"
ZOOM_CHAT = (
    "14:05:12\t From  Jane Doe  to  Everyone:\n\thello: you\n14:06:12\t From  Bob  to  Ann(Direct Message):\n\tyo\n"
)
REV = "Speaker 1 (00:00):\nHello there.\n\nSpeaker 2 (01:02:12):\nHi: you.\nYes.\n"
OTTER = "Jane Doe  0:03  \nHello there.\n\nBob  1:12\nHi.\n"
