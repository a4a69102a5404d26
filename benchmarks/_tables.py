"""Write the figures of benchmarks/results into the tables of README.md, README.zh-CN.md and docs/published-figures.md.

python benchmarks/_tables.py [--check]

With --check nothing is written; the exit status tells whether the tables are those of the results.
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
NAMES = {
    "adult": "Adult",
    "credit_default": "credit default",
    "diamonds": "diamonds",
    "mushroom": "mushroom",
    "nsl_kdd": "NSL-KDD",
    "wine_white": "white wine",
    "yeast": "yeast",
}
IMAGE_SETS = {
    "mnist": "MNIST",
    "fashion_mnist": "Fashion-MNIST",
    "binarized": "binarised MNIST",
    "static": "static MNIST",
    "cifar10_subset": "CIFAR-10 (10,000 learnt)",
}
BEGIN, END = "<!-- figures: written by benchmarks/_tables.py -->", "<!-- end of figures -->"

WORDS: dict[str, dict[str, str]] = {
    "README.md": {
        "head": "| What | latentkit | Compared with |",
        "mlp128": "Train 784-500-500-20 on MNIST, batch 128",
        "mlp1024": "The same, batch 1024",
        "table256": "Train 32-64-64-8 on a table, batch 256",
        "conv128": "Train pythae's own MNIST convolutions, batch 128",
        "memory": "Peak memory of the first of these",
        "encode": "Encode 10,000 images",
        "likelihood": "log p(x) with K = 5000",
        "conv": "Default conv net after a third of the time, test ELBO",
        "precision": "bfloat16 against float32, test ELBO after {epochs} epochs",
        "static": "Statically binarised MNIST, test NLL (K = 5000), {minutes:.0f} min",
        "static_mixture": "The same model with the mixture that `sample` draws from",
        "same": "the same encoder and decoder",
        "ex_post": "Fréchet distance of samples (features of a digit classifier)",
        "tune": "Settings for binarised MNIST found by {1} pruned trials: ELBO on other rows, mean over {0} seeds",
        "tuned": "{0:.2f} nats, better in {1}; a trial takes {2} s beside training",
        "untuned": "random search without pruning, same time: {0:.2f} nats",
        "doctor": "`latentkit doctor`: planted faults named, on {0} sets; healthy models accused, on {1}",
        "diagnosed": "{0} of {1}; {2} of {3}",
        "doctor_time": "The same for a default fit to {0:,} images (threads: {1})",
        "mended": "What `--fix` makes of {0} ill models: way to the figure of a healthy one, at least",
        "startup": "`latentkit --help`, `import latentkit`",
        "synthesis": "New rows of {0}: error of columns, of pairs; {1} of a learner trained on them; "
        "AUC that tells them from real rows",
        "synthesized": "{0} %, {1} %; {2}; {3}, after {4:.0f} s",
        "imputation": "Holes of {0} filled, {1:.0%} of the cells: right categories; error of numbers",
        "imputed": "{0}, after {1:.0f} s",
        "forests": "chain of random forests: {0}",
        "threads": " (threads: {0})",
        "sampling": "Rows of Adult drawn in a second: column by column, all columns at once given z",
        "scale": "{0:,} rows, {1} columns, one of {2:,} categories: peak memory of fitting, of drawing",
        "odd_clean": "Odd rows in {0} tables, fitted to normal rows alone, {1} seeds: mean AUROC; average precision",
        "odd_contaminated": "The same, fitted to rows with odd ones among them",
        "odd": "{auroc:.2f}; {ap:.2f}",
        "odd_ours": "{0} (its neighbours and margins without a VAE: {1})",
        "odd_network": "Attacks in network connections (NSL-KDD), fitted to {0:,} normal ones: the same figures",
        "odd_time": "Fit a detector of 5,000 rows of {0} numbers (threads: {1})",
        "odd_seconds": "{0:.1f} s",
        "odd_rate": "Rows of 30 numbers scored in a second: clean, contaminated, by default (threads: {0})",
        "packed": "Archive of {0}, bits a pixel (a colour), after {1:.0f} min of learning; with its model",
        "packed_rows": "Archive of {0}, bits a row, {1:.0f} s of learning; with its model; rows kept in the model",
        "lossy": "CIFAR-10 test images with loss, bits at equal PSNR: beside one picture of all; less headers",
        "packed_speed": "Images of {0} packed and unpacked in a second (threads: {1})",
        "bits_back": "10,000 binarised digits through a VAE, bits a pixel; packed and unpacked in a second on one core",
        "bound": "the model's own bound: {0}",
        "ptb": "Sentences of Penn Treebank, test NLL (K = 500), {0:.0f} min; under the mixture; KL; active units",
        "ptb_peer": "texar, VAE-LSTM: 102.1, on a GPU",
        "yelp": "Sentences of Yelp, NLL (K = 500), {1} epochs, {2:g} nats free; under the mixture; KL; active units",
        "language_model": "the same decoder without z: {0}",
        "told": "{0:.2f} nats; {1:.2f}; {2:.1f}; {3}",
        "edit": "Review sentences rewritten as the opposite: share, by a classifier; BLEU to the source",
        "edited": "{0:.1%}; {1:.1f}",
        "throughput": "Tokens of texts learnt in a second, LSTM of 256 units (threads: {0})",
        "loop": "a plain loop of PyTorch: {0:,} (**{1}x**)",
        "chinese": "Chinese headlines written: UTF-8; different and new; of the class asked for",
        "vectors": "Classes of news titles by a linear classifier on {0} latents",
        "svd": "TF-IDF and SVD: {0:.1%}",
        "packed_texts": "Archive of news titles, the model known, bytes",
        "packed_texts_peer": "{0} that knows the same titles: {1:,}",
        "best_of": "best of eight of PyOD, {0}: {1}",
        "peer": "PyOD, {0}: {1}",
        "rate": "{0} samples/s",
        "limit": ", {0} of what bfloat16 products alone allow",
        "image": "{0} ms an image",
        "versus": "pythae: {0} (**{1}x**)",
        "nats": "{0} nats",
        "mixture": "{0} with the mixture fitted after training",
        "normal": "{0} with N(0, I); floor {1}",
        "iwae": "VAE of the IWAE paper, 3,280 epochs: 88.71; pythae: 89.78",
        "torch": "`import torch` alone: {0} s",
        "own": "its own nets: {0} nats",
        "machine": "Medians on {cpu}, {threads} threads, torch {torch}; side by side with pythae 0.1.2 in one run. "
        "Each row is one command in [benchmarks/](benchmarks); the files it wrote lie in "
        "[benchmarks/results/](benchmarks/results).",
    },
    "README.zh-CN.md": {
        "head": "| 项目 | latentkit | 对比 |",
        "mlp128": "在 MNIST 上训练 784-500-500-20，批大小 128",
        "mlp1024": "同上，批大小 1024",
        "table256": "在表格上训练 32-64-64-8，批大小 256",
        "conv128": "训练 pythae 自带的 MNIST 卷积网络，批大小 128",
        "memory": "第一行训练的内存峰值",
        "encode": "编码 10,000 张图像",
        "likelihood": "K = 5000 的 log p(x)",
        "conv": "默认卷积网络只用三分之一时间的测试 ELBO",
        "precision": "bfloat16 与 float32 之差，{epochs} 轮后的测试 ELBO",
        "static": "静态二值化 MNIST 测试 NLL（K = 5000），{minutes:.0f} 分钟",
        "static_mixture": "同一模型，改用 `sample` 所用的混合先验",
        "same": "编码器与解码器相同",
        "ex_post": "样本的 Fréchet 距离（数字分类器特征）",
        "tune": "用 {1} 次带剪枝的试验为二值化 MNIST 寻找设置：其他行上的 ELBO，{0} 个种子的平均",
        "tuned": "{0:.2f} 纳特，其中 {1} 个种子更好；每次试验在训练之外用时 {2} 秒",
        "untuned": "同样时间、不剪枝的随机搜索：{0:.2f} 纳特",
        "doctor": "`latentkit doctor`：植入 {0} 个数据集上模型的故障被说中的数目；{1} 个数据集上被误诊的健康模型",
        "diagnosed": "{0} / {1}；{2} / {3}",
        "doctor_time": "诊断用 {0:,} 张图像默认训练的模型所需时间（线程数：{1}）",
        "mended": "`--fix` 治疗 {0} 个有病的模型：朝健康模型的指标至少走完的路程",
        "startup": "`latentkit --help`、`import latentkit`",
        "synthesis": "{0} 的合成行：列误差、列对误差；用其训练的学习器的 {1}；与真实行的区分 AUC",
        "synthesized": "{0} %、{1} %；{2}；{3}，用时 {4:.0f} 秒",
        "imputation": "补全 {0} 中 {1:.0%} 的空缺：类别正确率；数值误差",
        "imputed": "{0}，用时 {1:.0f} 秒",
        "forests": "随机森林链：{0}",
        "threads": "（线程数：{0}）",
        "sampling": "每秒生成的 Adult 行数：逐列生成；给定 z 一次生成全部列",
        "scale": "{0:,} 行 {1} 列，其中一列有 {2:,} 个类别：训练与采样的内存峰值",
        "odd_clean": "{0} 个表格中的异常行，仅用正常行训练，{1} 个种子：平均 AUROC；平均精度",
        "odd_contaminated": "同上，训练行中混有异常行",
        "odd": "{auroc:.2f}；{ap:.2f}",
        "odd_ours": "{0}（不用 VAE，仅用邻居与边缘分布：{1}）",
        "odd_network": "网络连接中的攻击（NSL-KDD），用 {0:,} 条正常连接训练：AUROC；平均精度",
        "odd_time": "用 5,000 行、{0} 个数值列训练检测器（线程数：{1}）",
        "odd_seconds": "{0:.1f} 秒",
        "odd_rate": "每秒评分的行数（30 个数值列）：干净、受污染、默认（线程数：{0}）",
        "packed": "{0} 的压缩文件，每像素（每通道）比特数，学习 {1:.0f} 分钟；含模型",
        "packed_rows": "{0} 的压缩文件，每行比特数，学习 {1:.0f} 秒；含模型；模型中保留行",
        "lossy": "CIFAR-10 测试图像有损压缩：同等 PSNR 下比特数之差（拼成一张图；不计文件头）",
        "packed_speed": "每秒压缩、解压的 {0} 图像（线程数：{1}）",
        "bits_back": "用 VAE 压缩 10,000 张二值化数字，每像素比特数；单核每秒压缩、解压",
        "bound": "模型自身的界：{0}",
        "ptb": "Penn Treebank 句子，测试 NLL（K = 500），{0:.0f} 分钟；混合先验下；KL；活跃维数",
        "ptb_peer": "texar VAE-LSTM：102.1（GPU）",
        "yelp": "Yelp 评论句子，NLL（K = 500），{1} 轮，{2:g} 纳特免费；混合先验下；KL；活跃维数",
        "language_model": "同一解码器、不用 z：{0}",
        "told": "{0:.2f} 纳特；{1:.2f}；{2:.1f}；{3}",
        "edit": "把评论句子改写为相反情感：分类器判定的比例；与原句的 BLEU",
        "edited": "{0:.1%}；{1:.1f}",
        "throughput": "每秒学习的文本词元数，256 单元 LSTM（线程数：{0}）",
        "loop": "普通 PyTorch 循环：{0:,}（**{1} 倍**）",
        "chinese": "生成的中文标题：有效 UTF-8；互异且不在训练集中；符合指定类别",
        "vectors": "用 {0} 维潜向量的线性分类器判断新闻标题类别",
        "svd": "TF-IDF 与 SVD：{0:.1%}",
        "packed_texts": "新闻标题的压缩文件（模型已知），字节",
        "packed_texts_peer": "同样已知训练标题的 {0}：{1:,}",
        "best_of": "PyOD 八种检测器中最好的 {0}：{1}",
        "peer": "PyOD {0}：{1}",
        "rate": "{0} 样本/秒",
        "limit": "，为仅做 bfloat16 矩阵乘法上限的 {0}",
        "image": "每张图像 {0} 毫秒",
        "versus": "pythae：{0}（**{1} 倍**）",
        "nats": "{0} 纳特",
        "mixture": "训练后拟合的高斯混合：{0}",
        "normal": "N(0, I)：{0}；下限 {1}",
        "iwae": "IWAE 论文中的 VAE（3,280 轮）：88.71；pythae：89.78",
        "torch": "仅 `import torch`：{0} 秒",
        "own": "其自带网络：{0} 纳特",
        "machine": "在 {cpu}、{threads} 线程、torch {torch} 上取中位数；与 pythae 0.1.2 在同一次运行中并排测量。"
        "每一行对应 [benchmarks/](benchmarks) 中的一条命令，结果文件在 [benchmarks/results/](benchmarks/results)。",
    },
}


def results(pattern: str = "*.json") -> dict[str, Any]:
    """Content of every file of results of this pattern."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob(pattern))}


def table(words: dict[str, str], found: dict[str, Any]) -> str:
    """The table in one language, of the results that there are."""
    figures = {name: content["figures"] for name, content in found.items()}
    rows: list[tuple[str, str, str]] = []
    speed = figures.get("training_speed", {})
    for case in ("mlp128", "mlp1024", "table256", "conv128"):
        if case in speed:
            row = speed[case]
            ours = words["rate"].format(f"{row['latentkit_samples_per_second']:,}")
            theirs = words["versus"].format(f"{row['pythae_samples_per_second']:,}", row["ratio"])
            if "limit_bfloat16" in row and case.startswith("mlp"):
                ours += words["limit"].format(round(row["latentkit_samples_per_second"] / row["limit_bfloat16"], 2))
            rows.append((words[case], ours, theirs))
    if "mlp128" in speed:
        row = speed["mlp128"]
        rows.append((words["memory"], f"{row['latentkit_peak_mb']} MB", f"pythae: {row['pythae_peak_mb']} MB"))
    if "inference_speed" in figures:
        row = figures["inference_speed"]
        ours = words["rate"].format(f"{row['latentkit_encode_per_second']:,}")
        theirs = words["versus"].format(f"{row['pythae_encode_per_second']:,}", row["encode_ratio"])
        rows.append((words["encode"], ours, theirs))
        ours = words["image"].format(row["latentkit_ms_per_image"])
        theirs = words["versus"].format(row["pythae_ms_per_image"], row["likelihood_ratio"])
        rows.append((words["likelihood"], ours, theirs))
    if "conv_quality" in figures:
        row = figures["conv_quality"]
        theirs = "pythae, " + words["own"].format(row["pythae_networks"]["test_elbo"])
        rows.append((words["conv"], words["nats"].format(row["default"]["test_elbo"]), theirs))
    if "static_mnist" in figures:
        row = figures["static_mnist"]
        what = words["static"].format(minutes=row["training_seconds"] / 60)
        rows.append((what, words["nats"].format(row["test_nll"]), words["iwae"]))
        rows.append((words["static_mixture"], words["nats"].format(row["test_nll_mixture"]), words["same"]))
    if "precision_quality" in figures:
        row = figures["precision_quality"]
        what = words["precision"].format(epochs=row["epochs"])
        rows.append((what, words["nats"].format(f"{row['mean_difference']:+}"), ""))
    if "ex_post" in figures:
        row = figures["ex_post"]
        normal = words["normal"].format(row["samples_from_standard_normal"], row["floor_train_against_test"])
        rows.append((words["ex_post"], words["mixture"].format(row["samples_from_mixture"]), normal))
    rows += of_tables(words, found)
    rows += of_odd_rows(words, found)
    rows += of_archives(words, found)
    if "tune" in figures:
        seeds = [row for name, row in figures["tune"].items() if name.startswith("seed")]
        wins = sum(row["tune"]["elbo"] > row["random"]["elbo"] for row in seeds)
        means = [statistics.mean(row[who]["elbo"] for row in seeds) for who in ("tune", "random")]
        what = words["tune"].format(len(seeds), seeds[0]["tune"]["complete"] + seeds[0]["tune"]["pruned"])
        tuned = words["tuned"].format(means[0], wins, figures["tune"]["overhead"]["median_seconds"])
        rows.append((what, tuned, words["untuned"].format(means[1])))
    rows += of_doctor(words, found)
    rows += of_texts(words, found)
    if "startup" in figures:
        row = figures["startup"]
        times = [row[name]["median_seconds"] for name in ("latentkit --help", "import latentkit", "import torch")]
        rows.append((words["startup"], f"{times[0]} s, {times[1]} s", words["torch"].format(times[2])))
    machine = next((found[name]["machine"] for name in ("training_speed", *found) if name in found), None)
    note = "" if machine is None else words["machine"].format(**machine) + "\n"
    lines = [words["head"], "|---|---|---|", *(f"| {a} | {b} | {c} |" for a, b, c in rows)]
    return "\n".join(lines) + "\n\n" + note


def of_doctor(words: dict[str, str], found: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Rows about diagnoses and remedies."""
    if "doctor" not in found:
        return []
    figures = found["doctor"]["figures"]
    rows: list[tuple[str, str, str]] = []
    faults, healthy = (
        [rows for name, rows in figures.items() if name.startswith(part)] for part in ("faults", "healthy")
    )
    if faults and healthy:
        planted, well = ([row for each in part for row in each.values()] for part in (faults, healthy))
        named, accused = sum(row["is_found"] for row in planted), sum(bool(row["accused"]) for row in well)
        what = words["doctor"].format(len(faults), len(healthy))
        rows.append((what, words["diagnosed"].format(named, len(planted), accused, len(well)), ""))
    if row := figures.get("time mnist"):
        what = words["doctor_time"].format(row["rows"], found["doctor"]["machine"]["threads"])
        rows.append((what, words["odd_seconds"].format(row["seconds"]), ""))
    if mended := figures.get("mend digits"):
        least = min(row["share_of_the_way"] for row in mended.values())
        rows.append((words["mended"].format(len(mended)), f"{least:.0%}", ""))
    return rows


def of_tables(words: dict[str, str], found: dict[str, Any]) -> list[tuple[str, str, str]]:
    """The rows about tables of mixed kinds, with the threads that each was measured on."""
    rows = []
    figures = {name: content["figures"] for name, content in found.items()}
    threads = {name: words["threads"].format(content["machine"]["threads"]) for name, content in found.items()}
    for name, contestants in figures.get("table_synthesis", {}).items():
        cells = {who: synthesized(words, contestants[who]["mean"]) for who in contestants}
        learner = usefulness(contestants["latentkit"]["mean"])
        count = contestants["latentkit"]["threads"]
        what = words["synthesis"].format(NAMES[name], learner.split()[0]) + words["threads"].format(count)
        rows.append((what, cells["latentkit"], f"TVAE: {cells['tvae']}" if "tvae" in cells else ""))
    for key, methods in figures.get("table_imputation", {}).items():
        name, share = key.split()
        ours, theirs = (imputed(words, methods["mean"][who]) for who in ("latentkit", "forest chain"))
        what = words["imputation"].format(NAMES[name], float(share)) + threads["table_imputation"]
        rows.append((what, ours, words["forests"].format(theirs)))
    if "table_sampling" in figures:
        rates = [f"{row['rows_per_second']:,}" for row in figures["table_sampling"].values() if isinstance(row, dict)]
        rows.append((words["sampling"] + threads["table_sampling"], ", ".join(rates), ""))
    if "table_scale" in figures:
        row = figures["table_scale"]
        what = words["scale"].format(row["rows"], row["columns"], row["categories"])
        rows.append((what, " MB, ".join(f"{row[part]['peak_megabytes']:,}" for part in ("fit", "draw")) + " MB", ""))
    return rows


def of_odd_rows(words: dict[str, str], found: dict[str, Any]) -> list[tuple[str, str, str]]:
    """The rows about detectors; of the peers the one with the highest AUROC stands beside ours."""
    rows = []
    figures = {name: content["figures"] for name, content in found.items()}
    row = figures.get("anomaly", {"means": {}})
    for protocol, means in row["means"].items():
        ours, without = (words["odd"].format(**means[name]) for name in ("ours", "ours without VAE"))
        what = words[f"odd_{protocol}"].format(len(row["tables"][protocol]), row["seeds"])
        peers = {name: mean for name, mean in means.items() if not name.startswith("ours")}
        rows.append((what, words["odd_ours"].format(ours, without), best_of(words, peers)))
    if row := figures.get("anomaly_network"):
        ours = words["odd"].format(**row["means"]["ours"])
        peers = {name: mean for name, mean in row["means"].items() if name != "ours"}
        rows.append((words["odd_network"].format(row["rows"]), ours, best_of(words, peers)))
    if row := figures.get("anomaly_speed"):
        threads = found["anomaly_speed"]["machine"]["threads"]
        for name, columns in (("shuttle", 9), ("campaign", 62)):
            ours, theirs = (words["odd_seconds"].format(row[name][who]["fit"]) for who in ("ours", "VAE"))
            rows.append((words["odd_time"].format(columns, threads), ours, words["peer"].format("VAE", theirs)))
        rates = [f"{rate['rows_per_second']:,}" for rate in row["a million rows of 30"].values()]
        rows.append((words["odd_rate"].format(threads), ", ".join(rates), ""))
    return rows


def of_archives(words: dict[str, str], found: dict[str, Any]) -> list[tuple[str, str, str]]:
    """The rows about compression; beside ours the smallest that a classic coder makes of the same bytes."""
    rows = []
    figures = {name: content["figures"] for name, content in found.items()}
    for name, row in figures.get("compression_images", {}).items():
        ours, (coder, bits) = row["ours"], min(row["classic"].items(), key=lambda item: item[1])
        what = words["packed"].format(IMAGE_SETS[name], row["seconds"] / 60)
        rows.append((what, f"{ours['mean bits']:.3f}; {ours['bits with the model']:.3f}", f"{coder}: {bits:.3f}"))
    for name, row in figures.get("compression_tables", {}).items():
        ours, kept = row["ours"], row["ours, rows kept"]
        coder, bits = min(row["classic"].items(), key=lambda item: item[1])
        cells = (ours["mean bits"], ours["bits with the model"], kept["mean bits"])
        what = words["packed_rows"].format(NAMES[name], row["seconds"])
        rows.append((what, "; ".join(f"{cell:.1f}" for cell in cells), f"{coder}: {bits:.1f}"))
    if row := figures.get("lossy_images"):
        shares = row["cifar_bd_rate_percent"]
        others = (("JPEG", "jpeg"), ("WebP", "webp"), ("JPEG XL", "jxl"))
        told = {name: [f"{shares[f'{key}_{way}']:+.0f} %" for way in ("mosaic", "headless")] for name, key in others}
        theirs = ", ".join(f"{name}: {'; '.join(told[name])}" for name, _ in others[1:])
        rows.append((words["lossy"], f"JPEG: {'; '.join(told['JPEG'])}", theirs))
    for name, row in figures.get("compression_speed", {}).items():
        threads = found["compression_speed"]["machine"]["threads"]
        ours, theirs = (
            ", ".join(f"{row[who][f'MB/s {way}']:.2f} MB" for way in ("written", "read"))
            for who in (f"{threads} workers", "xz -9")
        )
        rows.append((words["packed_speed"].format(IMAGE_SETS[name], threads), ours, f"xz: {theirs}"))
    if row := figures.get("compression_bits_back"):
        rates = (f"{row['megapixels_per_second'][way]} Mpx" for way in ("encode", "decode"))
        ours = f"{row['bits_per_pixel']:.4f}; {', '.join(rates)}"
        rows.append((words["bits_back"], ours, words["bound"].format(f"{row['bound_bits_per_pixel']:.4f}")))
    return rows


def of_texts(words: dict[str, str], found: dict[str, Any]) -> list[tuple[str, str, str]]:
    """The rows about texts."""
    rows = []
    figures = {name: content["figures"] for name, content in found.items()}
    row = figures.get("text", {})
    for name in ("ptb", "yelp"):
        if name in row:
            ours = row[name]["vae"]
            told = words["told"].format(ours["nll"], ours["nll_mixture"], ours["kl"], ours["active_units"])
            plain = row[name].get("language_model")
            peers = [] if plain is None else [words["language_model"].format(f"{plain['nll']:.2f}")]
            peers += [words["ptb_peer"]] if name == "ptb" else []
            free = ours.get("free_bits", 0.0) * ours.get("latent_dim", 0)
            rows.append((words[name].format(ours["seconds"] / 60, ours["epochs"], free), told, "; ".join(peers)))
    if "edit" in row:
        best = row["edit"]["margin 2"]
        rows.append((words["edit"], words["edited"].format(best["flipped"], best["bleu_to_source"]), ""))
    if "throughput" in row:
        part = row["throughput"]
        theirs = words["loop"].format(part["plain_tokens_per_second"], part["ratio"])
        rows.append((words["throughput"].format(part["threads"]), f"{part['ours_tokens_per_second']:,}", theirs))
    if "chinese" in row:
        shares = [row["chinese"][each] for each in ("valid_utf8", "distinct_and_new", "as_asked")]
        rows.append((words["chinese"], "; ".join(f"{share:.1%}" for share in shares), ""))
    if "vectors" in row:
        part = row["vectors"]
        theirs = words["svd"].format(part["tfidf_svd_accuracy"])
        rows.append((words["vectors"].format(part["dimensions"]), f"{part['vae_accuracy']:.1%}", theirs))
    for part in figures.get("text_compression", {}).values():
        if isinstance(part, dict) and "ours" in part:
            coder, least = min(part["training texts known"].items(), key=lambda item: item[1])
            theirs = words["packed_texts_peer"].format(coder, least)
            rows.append((words["packed_texts"], f"{part['ours']['bytes']:,.0f}", theirs))
    return rows


def best_of(words: dict[str, str], peers: dict[str, dict[str, float]]) -> str:
    """The peer with the highest AUROC, with its figures."""
    name = max(peers, key=lambda peer: peers[peer]["auroc"])
    return words["best_of"].format(name, words["odd"].format(**peers[name]))


def synthesized(words: dict[str, str], mean: dict[str, float]) -> str:
    """The figures of synthetic rows of one contestant."""
    names = ("column shape error, %", "pair trend error, %, rule equal_width")
    errors = [f"{mean[name]:.2f}" for name in names]
    use = mean[usefulness(mean)]
    return words["synthesized"].format(*errors, f"{use:.3f}", f"{mean['two-sample AUC']:.2f}", mean["fit_seconds"])


def usefulness(mean: dict[str, float]) -> str:
    """Name of the figure of a learner that was trained on synthetic rows: boosting, where it was measured."""
    learners = ("boosting", "linear")
    return next(figure for learner in learners for figure in mean if figure.endswith(f"synthetic, {learner}"))


def imputed(words: dict[str, str], mean: dict[str, float]) -> str:
    """The figures of filled holes by one method."""
    cells = [f"{mean[figure]:.3f}" for figure in ("right", "rmse") if figure in mean]
    return words["imputed"].format("; ".join(cells), mean["seconds"])


def published(figures: dict[str, Any]) -> str:
    """The table beside published figures, of the results of benchmarks/tables that there are."""
    rows: list[tuple[str, str, str, str]] = []
    nll = "{nll} ± {standard_error}".format_map
    if row := figures.get("pythae_recipe"):
        share = f"{row['training_seconds'] / 60:.1f} min, {row['share_of_pythae_time']:.0%} of pythae's time"
        what = "Static MNIST, 784-400-40, 500 epochs, NLL with 200 samples"
        rows.append((what, "pythae 89.78", nll(row["test"]), share))
        rows.append(("The same with the mixture fitted after training", "", nll(row["test_under_mixture"]), ""))
    iwae = {"vae": ("VAE", "86.76"), "iwae5": ("IWAE, 5 draws", "85.54"), "iwae50": ("IWAE, 50 draws", "84.78")}
    for name, (what, theirs) in iwae.items():
        if row := figures.get("dynamic_iwae", {}).get(name):
            text = f"Dynamic MNIST, networks of the IWAE paper, {what}, NLL with 5,000 samples"
            rows.append((text, f"{theirs} (3,280 epochs)", nll(row["test"]), f"{row['training_seconds'] / 60:.1f} min"))
    if row := figures.get("static_best"):
        theirs = "pythae's best 85.79; ResNet and flow prior 79.9"
        what = "Static MNIST, best member, NLL with 1,000 samples"
        rows.append((what, theirs, nll(row["test"]), f"{row['training_seconds'] / 60:.1f} min"))
    for name, row in figures.get("sample_quality", {}).items():
        ours = f"{row['samples']} (reconstructions {row['reconstructions']}, floor {row['floor']}"
        trained = row.get("samples_of_the_trained_prior")
        ours += ")" if trained is None or name != "good" else f", from N(0, I) {trained})"
        rows.append((f"MNIST samples, FCD, `{name}`", "", ours, f"{row['training_seconds'] / 60:.1f} min"))
    for name, row in figures.get("disentanglement", {}).items():
        theirs = {"beta_tc": "0.45 (selected run, full data)", "elbo": "0.10"}[name]
        seeds = ", ".join(str(gap) for gap in row["gaps"])
        what = f"dSprites grid, MIG, `{name}`"
        rows.append((what, theirs, f"{row['median_gap']} (seeds {seeds})", f"{row['minutes_each']:g} min each"))
    if row := figures.get("codebook"):
        theirs = "VQ-VAE 69.8, SQ-VAE 434.8 (full data)"
        minutes = f"{row['training_seconds'] / 60:.1f} min"
        rows.append(("CIFAR-10 subset, perplexity of 512 codes", theirs, str(row["test_perplexity"]), minutes))
    lines = ["| What | Published | latentkit | Training |", "|---|---|---|---|"]
    return "\n".join([*lines, *(f"| {a} | {b} | {c} | {d} |" for a, b, c, d in rows)]) + "\n"


def main() -> int:
    found = results()
    rows = results("tables/*.json")
    tables = {name: table(words, found) for name, words in WORDS.items()}
    tables["docs/published-figures.md"] = published({name: content["figures"] for name, content in rows.items()})
    stale = []
    for name, new_table in tables.items():
        path = ROOT / name
        text = path.read_text(encoding="utf-8")
        before, rest = text.split(BEGIN)
        _, after = rest.split(END)
        new = f"{before}{BEGIN}\n{new_table}{END}{after}"
        if new != text:
            stale.append(name)
            if "--check" not in sys.argv:
                path.write_text(new, encoding="utf-8")
    if stale and "--check" in sys.argv:
        print(f"the tables of {', '.join(stale)} are not those of benchmarks/results: run python benchmarks/_tables.py")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
