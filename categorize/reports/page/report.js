"use strict";
(() => {
  const find = (selector, inside = document) => inside.querySelector(selector);
  const all = (selector, inside = document) => [...inside.querySelectorAll(selector)];
  const make = (tag, text = "", className = "") => {
    const element = document.createElement(tag);
    element.textContent = text; // never as HTML: texts are what strangers wrote
    if (className) element.className = className;
    return element;
  };

  // ---------------------------------------------------------------- tables that sort
  const keyOf = (row, column) => {
    const cell = row.cells[column];
    if (cell.dataset.key !== undefined) return Number(cell.dataset.key);
    return cell.classList.contains("number") ? null : cell.textContent.trim();
  };
  const compare = (a, b) => (typeof a === "number" ? a - b : a.localeCompare(b));
  for (const table of all("table[data-sortable]")) {
    const heads = all("thead th", table);
    heads.forEach((head, column) => {
      const button = find("button", head);
      if (!button) return;
      button.addEventListener("click", () => {
        // Numbers begin with the largest, names with A.
        const first = head.classList.contains("number") ? "descending" : "ascending";
        const second = first === "ascending" ? "descending" : "ascending";
        const order = head.getAttribute("aria-sort") === first ? second : first;
        for (const other of heads) if (other.hasAttribute("aria-sort")) other.setAttribute("aria-sort", "none");
        head.setAttribute("aria-sort", order);
        const sign = order === "ascending" ? 1 : -1;
        const rows = all("tbody tr", table).map((row) => [keyOf(row, column), row]);
        rows.sort(([a], [b]) => (a === null || b === null ? (a === null) - (b === null) : sign * compare(a, b)));
        find("tbody", table).append(...rows.map(([, row]) => row));
      });
    });
  }

  // ---------------------------------------------------------------- confusion matrices
  const matrixForm = find("#matrix-form");
  const boxes = all(".matrix-box");
  if (matrixForm) {
    const show = () => {
      const { run, show } = matrixForm.elements;
      boxes.forEach((box, at) => {
        box.hidden = at !== Number(run.value);
        for (const cell of all("td[data-rows]", box)) {
          const share = show.value === "predicted" ? cell.dataset.predicted : cell.dataset.gold;
          cell.style.setProperty("--share", share);
          const percent = `${(100 * share).toFixed(share < 0.1 ? 1 : 0)}%`;
          cell.textContent = show.value === "rows" ? Number(cell.dataset.rows).toLocaleString("en") : percent;
        }
      });
    };
    matrixForm.addEventListener("change", show);
    show();
  }

  // ---------------------------------------------------------------- the rows
  const source = find("#data");
  if (source) {
    const { runs, names, tags, rows, scores } = JSON.parse(source.textContent);
    const [ID, TEXT, GOLD, SAID, SURE, WRONG, TAGS, NEAR] = [0, 1, 2, 3, 4, 5, 6, 7];
    const PAGE = 50;
    const form = find("#filters");
    const list = find("#list");
    const more = find("#more");
    const { text, run, answer, gold, predicted, tag, low, high } = form.elements;
    const searched = rows.map((row) => `${row[ID]}\n${row[TEXT]}`.toLowerCase());
    const collator = new Intl.Collator(undefined, { numeric: true });
    const fill = (select, values, among) => {
      const used = [...new Set(values)].sort((a, b) => collator.compare(among[a], among[b]));
      for (const at of used) select.add(new Option(among[at], at));
    };
    runs.forEach((name, at) => run.add(new Option(name, at)));
    if (scores) for (const select of [gold, predicted]) select.closest("label").hidden = true;
    else {
      fill(gold, rows.map((row) => row[GOLD]), names);
      fill(predicted, rows.flatMap((row) => row[SAID]), names);
    }
    fill(tag, rows.flatMap((row) => row[TAGS]), tags);
    if (tags.length === 0) tag.closest("label").hidden = true;
    if (!rows.some((row) => row[SURE].some((one) => one !== null))) find(".range", form).hidden = true;

    let matches = [];
    let shown = 0;
    const fits = (row, at, wanted) => {
      if (wanted.text && !searched[at].includes(wanted.text)) return false;
      if (wanted.gold !== "" && row[GOLD] !== Number(wanted.gold)) return false;
      if (wanted.tag !== "" && !row[TAGS].includes(Number(wanted.tag))) return false;
      // One model must have the answer, the confidence and the label that are asked for.
      return wanted.runs.some((one) => {
        if (wanted.answer && (row[WRONG][one] === "1") !== (wanted.answer === "wrong")) return false;
        if (wanted.predicted !== "" && row[SAID][one] !== Number(wanted.predicted)) return false;
        if (wanted.low === "" && wanted.high === "") return true;
        const sure = row[SURE][one];
        return sure !== null && sure >= Number(wanted.low || 0) && sure <= Number(wanted.high || 100);
      });
    };
    const item = (row) => {
      const entry = make("li");
      entry.append(make("p", row[TEXT], "text"));
      const meta = make("p", "", "meta");
      const wanted = make("span", "gold ");
      wanted.append(make("b", names[row[GOLD]]));
      meta.append(wanted, ...row[TAGS].map((one) => make("span", tags[one], "tag")), make("span", `id ${row[ID]}`));
      const answers = make("ul", "", "answers");
      const given = new Map(); // models that say the same share a line: a card of ten models stays short
      runs.forEach((name, one) => {
        const wrong = row[WRONG][one] === "1";
        const key = `${wrong} ${row[SAID][one]}`;
        if (!given.has(key)) {
          const line = make("li", "", wrong ? "wrong" : "");
          line.append(make("span", wrong ? "✗ " : "✓ ", "mark"), make("span", wrong ? "wrong: " : "right: ", "hidden"));
          line.append(make("b", names[row[SAID][one]]));
          given.set(key, line);
          answers.append(line);
        }
        const by = make("span", name, "by");
        if (row[SURE][one] !== null) by.append(" ", make("small", `${row[SURE][one]}%`));
        given.get(key).append(" ", by);
      });
      entry.append(meta, answers);
      if (row[NEAR].length) {
        const details = make("details");
        const lines = make("ul");
        for (const [near, label, like] of row[NEAR]) {
          const line = make("li");
          line.append(make("b", label), ` ${near} `, make("small", `similarity ${like}`));
          lines.append(line);
        }
        details.append(make("summary", "nearest training rows"), lines);
        entry.append(details);
      }
      return entry;
    };
    const extend = () => {
      list.append(...matches.slice(shown, shown + PAGE).map(item));
      shown = Math.min(shown + PAGE, matches.length);
      more.hidden = shown >= matches.length;
    };
    const filter = () => {
      const wanted = {
        text: text.value.trim().toLowerCase(), answer: answer.value, gold: gold.value, predicted: predicted.value,
        tag: tag.value, low: low.value, high: high.value,
        runs: run.value === "" ? runs.map((_, at) => at) : [Number(run.value)],
      };
      matches = rows.filter((row, at) => fits(row, at, wanted));
      find("#count").textContent = `${matches.length.toLocaleString("en")} of ${rows.length.toLocaleString("en")} rows`;
      list.replaceChildren();
      shown = 0;
      extend();
    };
    const positionOf = (select, label) => [...select.options].find((one) => one.textContent === label)?.value ?? "";
    const see = (ofRun, ofGold, ofPredicted) => {
      form.reset();
      run.value = positionOf(run, ofRun);
      gold.value = positionOf(gold, ofGold);
      predicted.value = positionOf(predicted, ofPredicted);
      answer.value = "";
      filter();
      find("#rows").scrollIntoView();
      run.focus({ preventScroll: true });
    };
    let waiting = 0;
    form.addEventListener("input", () => {
      clearTimeout(waiting);
      waiting = setTimeout(filter, 120);
    });
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("reset", () => setTimeout(filter));
    more.addEventListener("click", extend);
    for (const button of all(".see")) {
      button.addEventListener("click", () => see(button.dataset.run, button.dataset.gold, button.dataset.predicted));
    }
    for (const box of boxes) {
      box.classList.add("clickable");
      const labels = all("thead th", box).map((head) => head.textContent);
      box.addEventListener("click", (event) => {
        const cell = event.target.closest("td[data-rows]");
        if (cell) see(box.dataset.run, find("th", cell.parentElement).textContent, labels[cell.cellIndex - 1]);
      });
    }
    form.hidden = false;
    filter();
  }
  addEventListener("beforeprint", () => {
    for (const one of all("main > section > details")) one.open = true;
    for (const box of boxes) box.hidden = false;
  });
  addEventListener("afterprint", () => matrixForm?.dispatchEvent(new Event("change")));
})();
