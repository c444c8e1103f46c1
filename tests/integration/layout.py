"""The layout of tables, as tests/fixtures/caps/README.md has it (the numbers here are its rules): written from that page, to hold vmctl's
own code against. The width of a character is 1."""

import re

GAP, REMARK, INDENT, LEAST = 2, 36, 4, 6


def pieces(text):
    """What a column should be wide enough for: words, and long ones apart after / and , (6.)"""
    return [piece for word in text.split() for piece in re.findall(r"[^/,]*[/,]|[^/,]+", word)]


def wrap(text, width):
    """The lines of a cell (6.)"""
    lines = []
    for paragraph in text.split("\n"):
        line = ""
        for word in paragraph.split(" "):
            if line and len(line) + 1 + len(word) <= width:
                line += " " + word
                continue
            if line:
                lines.append(line)
            while len(word) > width:
                soft = max(word.rfind("/", 0, width), word.rfind(",", 0, width)) + 1
                lines.append(word[:soft or width])
                word = word[soft or width:]
            line = word
        lines.append(line)
    return lines


def narrowed(widths, least, over):
    """Takes `over` from the widest that may give, so that they end equally wide and the left ones keep the rest (5.). (widths, what could
    not be taken)"""
    givers = [i for i, width in enumerate(widths) if width > least[i]]
    room = sum(widths[i] - least[i] for i in givers)
    if room <= over:
        return [least[i] if i in givers else width for i, width in enumerate(widths)], over - room

    def capped(cap):
        return [max(least[i], min(width, cap)) if i in givers else width for i, width in enumerate(widths)]
    target = sum(widths) - over
    cap = max(c for c in range(max(widths) + 1) if sum(capped(c)) <= target)
    result, above = capped(cap), capped(cap + 1)
    for i in range(len(widths)):
        if sum(result) < target and above[i] > result[i]:
            result[i] += 1
    return result, 0


def beside(cells, widths):
    """One row in columns (1.)"""
    columns = [wrap(cell, width) for cell, width in zip(cells, widths)]
    for number in range(max(map(len, columns))):
        line = ""
        for i, column in enumerate(columns):
            line = line.ljust(sum(widths[:i]) + GAP * i) + (column[number] if number < len(column) else "")
        yield line.rstrip()


def table(titles, kinds, rows, width):
    """The lines of a table. kinds: a letter a column: w words, l levels, t text, r remarks (the last only). rows: lists of cells, or a string: a
    heading. width: 0, not known."""
    real = [titles, *(row for row in rows if not isinstance(row, str))]
    widths = [max(len(line) for row in real for line in row[i].split("\n")) for i in range(len(titles))]
    count = len(titles)
    if width and kinds[-1] == "r" and sum(widths[:-1]) + GAP * (count - 1) + min(widths[-1], REMARK) > width:
        count -= 1
    widths = widths[:count]
    over = sum(widths) + GAP * (count - 1) - width
    if width and over > 0:
        apart = [max(len(p) for row in real for p in pieces(row[i]) or [""]) for i in range(count)]
        for who, least in (("tr", apart), ("l", apart), ("tr", [LEAST] * count)):
            if over:
                widths, over = narrowed(widths, [min(least[i], w) if kinds[i] in who else w for i, w in enumerate(widths)], over)
    lines = list(beside(titles[:count], widths))
    for row in rows:
        if isinstance(row, str):
            lines += ["", row]
            continue
        lines += beside(row[:count], widths)
        if count < len(row) and row[count]:
            lines += [" " * INDENT + line for line in wrap(row[count], width - INDENT)]
    return lines


def note(mark, text, width):
    """A text below a table whose further lines stand under its first word (7.)"""
    lines = wrap(text, width - len(mark)) if width else [text]
    return [mark + lines[0], *(" " * len(mark) + line for line in lines[1:])]
