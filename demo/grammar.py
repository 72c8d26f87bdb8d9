"""What the synthetic comments say: words, frames and the rules that compose them into a text of a known class.

The class is a property of the composition, not of the words. Every frame takes both polarities: the same praise stands

* in a plain sentence (`她真专业`, Positive),
* under a negation (`我不觉得她很专业`, Negative),
* in the clause that a contrast overrules (`虽然很专业，但是节奏太拖沓`, Negative),
* in a balance (`不算专业，也不算业余`, Mild),
* and said of something beside the point (`字幕真专业`, Irrelevant).

A bag of n-grams gets the plain ones; the others need scope and order. All text is made up for this project. The praise
and the criticism are of performances, scripts and matches; none is abusive.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

POSITIVE, MILD, NEGATIVE, IRRELEVANT = 0, 1, 2, 3
CLASS_NAMES = ("Positive", "Mild", "Negative", "Irrelevant")


@dataclass(frozen=True)
class Topic:
    """What a video is about: the women it portrays, and the aspects that viewers judge."""

    name: str
    people: tuple[str, ...]
    aspects: tuple[str, ...]


def _topic(name: str, people: str, aspects: str) -> Topic:
    return Topic(name, _words(people), _words(aspects))


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


TOPICS = (
    _topic("football", "女足 守门员 前锋小姐姐 女足队长", "传球 射门 跑位 体能 防守"),
    _topic("volleyball", "女排 主攻手 二传 女排队长", "扣球 拦网 发球 配合 一传"),
    _topic("climbing", "女攀岩手 登山队长 攀岩小姐姐", "动作 体能 路线 心态"),
    _topic("racing", "女车手 赛车手姐姐 女领航员", "过弯 操控 心态 超车"),
    _topic("esports", "女选手 女解说 女教练", "操作 解说 意识 指挥 团战"),
    _topic("chess", "女棋手 女大师", "布局 残局 心态 计算"),
    _topic("software", "女程序员 女架构师 女工程师", "代码 讲解 思路 演示"),
    _topic("laboratory", "女博士 女科学家 女教授", "实验 论文 讲解 思路"),
    _topic("space", "女航天员 指令长 女总师", "讲解 训练 操作 心态"),
    _topic("aviation", "女机长 女飞行员", "降落 操作 应变 心态"),
    _topic("medicine", "女外科医生 女主任 女急救员", "手术 讲解 判断 应变"),
    _topic("rescue", "女消防员 女警官 女队长", "动作 判断 体能 应变"),
    _topic("drama", "女主 女将军 女一号 女侠", "演技 台词 人设 打戏 剧情 成长线"),
    _topic("film", "女导演 女编剧 女摄影师", "镜头 叙事 节奏 剧本"),
    _topic("business", "女总裁 女老板 女创始人", "人设 谈判 演讲 决策"),
    _topic("music", "女鼓手 女指挥 女吉他手", "演奏 节奏 台风 编曲"),
)

PRAISE = _words(
    """
    帅 稳 专业 厉害 精彩 真实 动人 飒 有魅力 有说服力 自然 用心 立体 勇敢 可靠 清醒 出色 走心 有气场 扎实 流畅
    大气 细腻 有担当 燃 耐看 利落 到位 有灵气 亮眼
    """
)
CRITICISM = _words(
    """
    尴尬 拖沓 生硬 敷衍 无聊 做作 单薄 悬浮 刻意 拉胯 油腻 离谱 让人失望 空洞 混乱 浮夸 难看 别扭 让人出戏 违和
    水 粗糙 假 乏味 业余 慌乱 没劲 脸谱化 啰嗦 套路
    """
)
LUKEWARM = _words(
    """
    还行 一般般 中规中矩 马马虎虎 还凑合 也就那样 不好不坏 过得去 普普通通 见仁见智 正常水平 平平无奇
    """
)
CHEERS = _words(
    """
    yyds 绝了 太可了 爱了爱了 姐姐好飒 awsl 泪目了 致敬 respect 666 nb 冲鸭 支持姐姐 为她鼓掌 全程起鸡皮疙瘩
    姐姐加油 这才是榜样 看得热血沸腾 想二刷 封神
    """
)
JEERS = _words(
    """
    劝退了 弃了 无语 槽点太多 看不下去 只想快进 就这？ 打扰了 一言难尽 浪费时间 编剧不会写女性角色 又写成了花瓶
    白期待了 取关了 栓Q 尬到抠脚 散了吧 差评 看困了 救不回来
    """
)
SHRUGS = _words(
    """
    看个人口味吧 不吹不黑 没什么感觉 不予置评 再看看吧 中立 先观望 emmm 说不好 各有各的看法 没太大感觉
    可看可不看
    """
)

# Beside the point: judged with the same words as the women are, so that the target decides.
BYSTANDERS = _words(
    """
    字幕 bgm 画质 弹幕 封面 广告 网速 片头曲 我家的猫 食堂的饭 我的耳机 评论区 今天的天气 up的麦克风
    """
)
CHATTER = _words(
    """
    打卡 第一 前排 有人吗 求bgm 求资源 几点更新 来了来了 签到 考研人路过 下课来看 边吃饭边看 明天要考试了
    晚上吃什么 今天好冷 地铁上看的 手机没电了 2024年还有人吗 空降坐标3分20 刚下班 作业还没写 前方高能
    进度条撑住 外卖到了 猫把键盘踩了 谁有课件 广州今天下雨了 投币了求回关 这是几月的视频 耳机党注意
    我在图书馆不敢笑 第几集了 电量1% 周五快乐 晚安
    """
)
ASIDES = _words(
    """
    顺便求bgm 晚饭还没吃 今天打卡 弹幕好多 下课来看的 第二遍了 先去吃饭 字幕有点糊 手机快没电了 来自首页推荐
    """
)

_INTENSIFIERS = ("真", "太", "好", "很", "真的很", "特别", "挺", "超", "真是", "确实", "实在是", "")
_NEAR_NEGATIONS = ("不", "一点也不", "没那么", "谈不上", "算不上", "并不", "不怎么", "压根不", "不太")
# {s} the subject, {w} a word of the opposite polarity: the frame turns it round from afar, out of reach of a 3-gram.
_FAR_NEGATIONS = (
    "我不觉得{s}{i}{w}",
    "没看出来{s}哪里{w}",
    "谁说{s}{i}{w}的",
    "不明白为什么有人觉得{s}{i}{w}",
    "说{s}{w}的怕是没看完",
    "别再说{s}{i}{w}了",
    "很难同意{s}{i}{w}这种说法",
    "从没觉得{s}{i}{w}",
)
# The same openings without the turn, so that the opening alone gives nothing away.
_PLAIN_FRAMES = (
    "{s}{i}{w}",
    "{s}{i}{w}",
    "{s}{i}{w}",
    "我觉得{s}{i}{w}",
    "没想到{s}{i}{w}",
    "谁都看得出{s}{i}{w}",
    "不得不说{s}{i}{w}",
    "怪不得有人觉得{s}{i}{w}",
    "别的不说，{s}{i}{w}",
    "不用看完就知道{s}{i}{w}",
    "{i}{w}",
)
# {a} is overruled, {b} decides.
_CONTRASTS = (
    "{a}，但是{b}",
    "虽然{a}，但{b}",
    "{a}，不过{b}",
    "{a}，可是{b}",
    "一开始觉得{a}，后来{b}",
    "本来以为{a}，结果{b}",
    "弹幕都说{a}，其实{b}",
    "前半段{a}，看到最后{b}",
    "{b}，虽然{a}",
    "{b}，尽管前面{a}",
)
_BALANCES = (
    "不算{p}，也不算{n}",
    "说{p}吧也没有，说{n}吧也不至于",
    "有{p}的地方也有{n}的地方",
    "说不上{p}还是{n}",
    "{x}{p}，{y}{n}，一半一半",
    "{s}没有多{p}，也没有多{n}",
    "{x}{p}{y}{n}，抵消了",
    "有人说{p}有人说{n}，都有道理",
)
_IRONY = {
    POSITIVE: (
        "{w}到只拿了个冠军",
        "是挺{w}的，也就比我强一百倍",
        "{s}好{w}哦，{w}到对手都哭了",
        "{s}这么{w}，难怪大家都投了三连",
    ),
    NEGATIVE: (
        "可真{w}呢🙃",
        "{s}真是{w}，呵呵",
        "好一个{w}，我选择快进",
        "{s}这么{w}，难怪没人看完",
        "{w}到我直接关了",
    ),
}


def _subject(rng: random.Random, topic: Topic) -> str:
    person, aspect = rng.choice(topic.people), rng.choice(topic.aspects)
    forms = (
        "她",
        "姐姐",
        person,
        f"这个{person}",
        f"她的{aspect}",
        f"这{aspect}",
        aspect,
        f"{person}的{aspect}",
        f"这段{aspect}",
    )
    return rng.choice(forms)


def _word(rng: random.Random, polarity: int) -> str:
    return rng.choice(PRAISE if polarity == POSITIVE else CRITICISM)


def _opposite(polarity: int) -> int:
    return NEGATIVE if polarity == POSITIVE else POSITIVE


def _clause(
    rng: random.Random, topic: Topic, polarity: int, turned: float, frames: tuple[str, ...] = _PLAIN_FRAMES
) -> str:
    """One clause that says `polarity`; with probability `turned` through a negated word of the opposite polarity."""
    subject, intensifier = _subject(rng, topic), rng.choice(_INTENSIFIERS)
    if polarity == MILD:
        return rng.choice(("{s}{w}", "我觉得{s}{w}", "{s}感觉{w}", "{w}")).format(s=subject, w=rng.choice(LUKEWARM))
    if rng.random() >= turned:
        return rng.choice(frames).format(s=subject, i=intensifier, w=_word(rng, polarity))
    word = _word(rng, _opposite(polarity))
    if rng.random() < 0.4:
        return subject + rng.choice(_NEAR_NEGATIONS) + word
    return rng.choice(_FAR_NEGATIONS).format(s=subject, i=intensifier, w=word)


def _contrast(rng: random.Random, topic: Topic, polarity: int) -> str:
    others = [p for p in (POSITIVE, MILD, NEGATIVE) if p != polarity]
    overruled = _opposite(polarity) if polarity != MILD and rng.random() < 0.85 else rng.choice(others)
    # Inner clauses are short: a frame within a frame reads like nobody's comment.
    a, b = (_clause(rng, topic, p, turned=0.0, frames=("{s}{i}{w}", "{i}{w}")) for p in (overruled, polarity))
    return rng.choice(_CONTRASTS).format(a=a, b=b)


def _balance(rng: random.Random, topic: Topic) -> str:
    x, y = rng.sample(topic.aspects, 2)
    words = {"p": _word(rng, POSITIVE), "n": _word(rng, NEGATIVE)}
    if rng.random() < 0.5:
        words["p"], words["n"] = words["n"], words["p"]
    return rng.choice(_BALANCES).format(s=_subject(rng, topic), x=x, y=y, **words)


def _irrelevant(rng: random.Random, topic: Topic) -> str:
    kind = rng.random()
    if kind < 0.45:
        return rng.choice(CHATTER)
    bystander, word = rng.choice(BYSTANDERS), _word(rng, rng.choice((POSITIVE, NEGATIVE)))
    if kind < 0.75:
        opening = rng.choice(("", "", f"{rng.choice(topic.people)}出场时", "话说", "只有我觉得", "不懂就问"))
        return f"{opening}{bystander}{rng.choice(_INTENSIFIERS)}{word}"
    if kind < 0.88:
        return f"{rng.choice(CHATTER)}，{rng.choice(ASIDES)}"
    person = rng.choice(topic.people)
    return rng.choice(
        ("{p}出场是第几分钟", "{p}这段的bgm叫什么", "有没有{p}的壁纸", "{p}是哪一年的", "搜{p}来的，打卡")
    ).format(p=person)


def compose(rng: random.Random, topic: Topic, class_code: int) -> str:
    """A clean comment on `topic` whose class is `class_code` (0..3, as in `CLASS_NAMES`)."""
    if class_code == IRRELEVANT:
        return _irrelevant(rng, topic)
    kind = rng.random()
    if class_code == MILD:
        if kind < 0.3:
            text = _clause(rng, topic, MILD, turned=0.0)
        elif kind < 0.7:
            text = _balance(rng, topic)
        elif kind < 0.88:
            text = _contrast(rng, topic, MILD)
        else:
            text = rng.choice(SHRUGS)
    elif kind < 0.23:
        text = rng.choice(CHEERS if class_code == POSITIVE else JEERS)
        if rng.random() < 0.4:
            text = f"{_subject(rng, topic)}{text}"
    elif kind < 0.80:
        text = _clause(rng, topic, class_code, turned=0.18)
    elif kind < 0.97:
        text = _contrast(rng, topic, class_code)
    else:
        irony = rng.choice(_IRONY[class_code])
        text = irony.format(s=_subject(rng, topic), w=_word(rng, _opposite(class_code)))
    if rng.random() < 0.08:
        text = f"{text}，{rng.choice(ASIDES)}" if rng.random() < 0.6 else f"{rng.choice(CHATTER)}，{text}"
    return text
