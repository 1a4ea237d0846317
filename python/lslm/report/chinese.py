"""The texts of pages: in Chinese by English text or name, in English by name."""

from __future__ import annotations

from lslm.analysis.kinds import KINDS
from lslm.analysis.slices import RECENT

__all__ = ["CHINESE", "ENGLISH"]

_KINDS = (
    "词首", "词中", "数字", "标点", "空白", "换行与缩进", "字符的一部分", "汉字", "假名", "谚文",
    "西里尔字母", "希腊字母", "阿拉伯字母", "其他文字", "网址", "文档结束符", "其他特殊 token",
)  # fmt: skip

CHINESE: dict[str, str] = dict(zip(KINDS, _KINDS, strict=True)) | {
    f"not in the last {RECENT} tokens": f"前 {RECENT} 个 token 中没有出现过",
    f"in the last {RECENT} tokens": f"前 {RECENT} 个 token 中出现过",
    "never": "从未",
    "beyond 1,000": "1,000 名以外",
    " and more": " 及以上",
    "Where the model errs": "模型错在哪里",
    "Where is the loss?": "损失在哪里？",
    "What does it look like?": "看起来是什么样？",
    "Worst tokens": "损失最大的 token",
    "Tokens with the most loss": "总损失最大的 token",
    "Does it know what it does not know?": "模型知道自己不知道什么吗？",
    "What is exact, what is a sample": "哪些是精确值，哪些是抽样",
    "loss": "损失",
    "nats per token": "奈特/token",
    "bits per byte": "每字节比特数",
    "comparable": "可跨词表比较",
    "expected loss": "预期损失",
    "mean entropy": "平均熵",
    "tokens": "token 数",
    "all of them in the sums": "全部计入",
    "the other less this": "另一模型减本模型",
    "slices-note": "每个维度中，最有改进余地的排在最前：“可挽回”是该类 token 的损失比其余 token 的平均水平多出的部分。"
    "误差为按文档聚类的标准误。",
    "dimension kind": "token 的种类",
    "dimension source": "来源",
    "dimension frequency": "训练数据中的出现次数",
    "dimension window": "模型看到的前文（token 数）",
    "dimension document": "在文档中的位置",
    "dimension length": "文档长度",
    "dimension seen": "近处是否出现过",
    "dimension rank": "正确 token 的名次",
    "{n} more": "另外 {n} 项",
    "headline": "“{name}”占 {tokens} 的 token，却占 {share} 的损失。",
    "slice": "类别",
    "share of the loss": "占总损失",
    "loss ± error": "损失 ± 误差",
    "expected": "预期",
    "to win, nats": "可挽回（奈特）",
    "No document is long enough to show.": "没有足够长的文档可供展示。",
    "text-help": "颜色越深，该 token 越出乎模型的意料。把鼠标移到 token 上、点按它，或选中文本后用方向键移动，"
    "即可看到模型认为最可能的五个 token 及其概率。",
    "keyboard-help": "用方向键逐个查看 token",
    "the other: loss": "另一模型：损失",
    "the first {n} of {all} tokens": "共 {all} 个 token，显示前 {n} 个",
    "worst": "损失最大",
    "median": "中位数",
    "random": "随机",
    "best": "损失最小",
    "gained least": "改进最少",
    "gained most": "改进最多",
    "the other is better": "另一模型更好",
    "the other is worse": "另一模型更差",
    "text-help-two": "蓝色：另一模型的损失更小；橙色：更大。把鼠标移到 token 上、点按它，或选中文本后用方向键移动，"
    "即可看到两个模型各自认为最可能的五个 token 及其概率。",
    "sure": "有把握",
    "nats: ": "奈特：",
    "worst-note": "损失最大的 {n} 个 token，相同的归为一组，每组最多列出三处。“模型的选择”是模型认为最可能的 token，"
    "只对上文展示过的文档给出。",
    "token": "token",
    "nats": "奈特",
    "model's choice": "模型的选择",
    "in its text": "所在文本",
    "times": "次数",
    "nats in all": "合计奈特",
    "nats each": "平均奈特",
    "What the model repeats": "模型偏爱什么",
    "repeats-note": "在展示的文档中，这些 token 被列为首选的次数多于它们实际出现的次数。",
    "first choice": "首选",
    "occurs": "实际出现",
    "perfect": "完全校准",
    "probability": "概率",
    "share that is right": "正确的比例",
    "measured": "实测",
    "expected loss: entropy, nats": "预期损失：熵（奈特）",
    "loss, nats per token": "损失（奈特/token）",
    "calibration-note": "模型的首选按其概率分组：若校准良好，概率为 70 % 的首选应有 70 % 正确。期望校准误差为 {probability}。"
    "预期损失与实际损失的平均差为 {entropy} 奈特。两者都取自全部 token；误差线为两倍标准误，按文档聚类。",
    "entropy": "熵",
    "the same as a table": "表格形式",
    "model": "模型",
    "the other": "另一模型",
    "protocol": "评测协议",
    "exact": "精确",
    "exact-note": "各类别的总和、误差、校准、名次、损失最大的 token：来自全部 {n} 个 token、{d} 篇文档。",
    "sample": "抽样",
    "sample-note": "着色文本、五个候选 token 与“模型偏爱什么”：来自展示的 {n} 个 token，为此重新运行了模型；"
    "与得分表的最大差异为 {difference} 奈特。",
    "Loss over training": "训练过程中的损失",
    "training-note": "每个检查点上同一批 token 的损失；误差线为两倍标准误，按文档聚类。括号内为该 token 出现的次数。",
    "all tokens": "全部 token",
    "step": "步数",
    "files": "文件",
}
"""Chinese by English; keys with a hyphen are names of longer texts."""

ENGLISH: dict[str, str] = {
    "slices-note": "In each dimension, those first where most is to win: what these tokens cost above "
    "the mean of all others. Errors are standard errors, clustered by document.",
    "dimension kind": "Kind of token",
    "dimension source": "Source",
    "dimension frequency": "How often the token occurs in the training data",
    "dimension window": "Tokens that the model saw before it",
    "dimension document": "Position in the document",
    "dimension length": "Length of the document, tokens",
    "dimension seen": "Whether the token occurred shortly before",
    "dimension rank": "Rank of the true token",
    "headline": "“{name}” is {tokens} of the tokens and {share} of the loss.",
    "text-help": "The darker a token, the less the model expected it. Point at one, tap it, or move with "
    "the arrow keys when the text has the focus: the panel shows the five most likely tokens there.",
    "text-help-two": "Blue: the other model loses less here; orange: more. Point at a token, tap it, or move with the "
    "arrow keys when the text has the focus: the panel shows the five most likely tokens of both.",
    "keyboard-help": "Arrow keys move from token to token.",
    "worst-note": "The {n} tokens with the highest loss, equal ones together with up to three of their places. The model's "
    "choice, its most likely token, is known in the documents shown above.",
    "repeats-note": "These are the model's first choice more often than they occur, in the documents "
    "shown above.",
    "calibration-note": "First choices by their probability: of those with 70 %, 70 % should be right. "
    "The expected calibration error is {probability}. The loss that the model expects, its entropy, is off "
    "by {entropy} nats on average over bins. Both are of all tokens; bars are two standard errors, clustered by document.",
    "exact-note": "sums and errors of slices, calibration, ranks, worst tokens: of all {n} tokens in {d} documents.",
    "sample-note": "coloured text, its five alternatives and what the model repeats: the {n} tokens shown, for "
    "which the model ran again; largest difference to the table {difference} nats.",
    "training-note": "The loss of the same tokens at each checkpoint; bars are two standard errors, clustered by document. "
    "After each token: how often it occurs.",
}
"""English of the texts that have a name."""
