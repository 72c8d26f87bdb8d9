"""How the synthetic comments are written: typos, slang spellings, mixed scripts, laughter and emoji over a clean text.

None of this depends on the class, so it adds no signal, only the surface that real comments have.
"""

from __future__ import annotations

import random

# Homophones that people type for one another; the first form is the clean one.
_HOMOPHONES = (
    ("的", "得"), ("得", "的"), ("的", "地"), ("在", "再"), ("再", "在"), ("她", "他"), ("她", "ta"), ("那", "哪"),
    ("已", "以"), ("做", "作"), ("像", "象"), ("厉害", "利害"), ("觉得", "jio得"), ("真的", "蒸的"), ("什么", "神马"),
    ("没有", "木有"), ("喜欢", "稀饭"), ("演技", "眼技"), ("尴尬", "尬尬"), ("姐姐", "jiejie"), ("女主", "nvzhu"),
    ("帅", "率"), ("专业", "专页"), ("自然", "自燃"), ("节奏", "节凑"), ("感觉", "赶脚"), ("一般般", "1般般"),
)  # fmt: skip
_TRADITIONAL = str.maketrans(
    "业厉动气说灵眼乱虽后结还没样个这导师运员战术讲体弹级发现实场边剧团赛车过终于话样觉样谁别难词线节应变间开题红头听网儿从军将长飞",
    "業厲動氣說靈眼亂雖後結還沒樣個這導師運員戰術講體彈級發現實場邊劇團賽車過終於話樣覺樣誰別難詞線節應變間開題紅頭聽網兒從軍將長飛",
)
_FULL_WIDTH = {ord(c): ord(c) + 0xFEE0 for c in "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ!?.()"}
_LAUGHTER = ("哈哈", "哈哈哈", "哈哈哈哈哈哈", "233", "2333", "www", "hhhh", "笑死", "草", "xswl", "噗")
_EMOJI = ("😂", "👍", "👏", "🔥", "😭", "❤️", "👀", "🐶", "🤔", "✨", "😅", "[doge]", "[星星眼]", "(´▽`)")
_ENDINGS = ("！", "！！！", "。", "~", "……", "啊", "啊啊啊", "吧", "呢", "哦", "了", "诶", "...", "？")


def roughen(rng: random.Random, text: str) -> str:
    """`text` as a hurried viewer would have typed it. Never empty, and no formula to a spreadsheet (no leading '=')."""
    if rng.random() < 0.10:
        wrong = [(a, b) for a, b in _HOMOPHONES if a in text]
        if wrong:
            text = text.replace(*rng.choice(wrong), 1)
    if rng.random() < 0.04 and len(text) > 6:
        at = rng.randrange(1, len(text) - 1)
        text = rng.choice((text[:at] + text[at + 1 :], text[:at] + text[at] + text[at:]))  # a character lost or doubled
    if rng.random() < 0.12:
        text = text.replace("，", rng.choice((" ", "", ",", "。")))
    if rng.random() < 0.10:
        laugh = rng.choice(_LAUGHTER)
        text = rng.choice((f"{laugh}{text}", f"{text}{laugh}", f"{laugh} {text}"))
    if rng.random() < 0.25:
        text += rng.choice(_ENDINGS)
    if rng.random() < 0.10:
        text += rng.choice(_EMOJI) * rng.choice((1, 1, 1, 3))
    if rng.random() < 0.04:
        text = text.translate(_TRADITIONAL)
    if rng.random() < 0.04:
        text = text.translate(_FULL_WIDTH)
    if rng.random() < 0.03:
        text = f" {text}" if rng.random() < 0.5 else f"{text}  "
    return text
