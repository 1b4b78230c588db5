"use strict";
// Switches: radio buttons of a group show the panel of their value.
// The address can set them: report.html#axis=tokens&theme=dark&at=convergence
function choose(group, value) {
  const radio = document.querySelector(`input[type=radio][name="${group}"][value="${value}"]`);
  if (!radio) return;
  radio.checked = true;
  if (group === "theme") {
    document.documentElement.dataset.theme = value;
  } else {
    for (const panel of document.querySelectorAll(`.panel[data-group="${group}"]`)) {
      panel.hidden = panel.dataset.value !== value;
    }
  }
}
for (const switcher of document.querySelectorAll("fieldset.switch")) {
  switcher.hidden = false;
  if (switcher.dataset.group) switcher.addEventListener("change", (event) => choose(switcher.dataset.group, event.target.value));
}
// Check boxes of methods: hide their marks in all curves, and turn every box of theirs alike.
function show(box) {
  for (const other of document.querySelectorAll(`.methods input[value="${box.value}"]`)) other.checked = box.checked;
  for (const mark of document.getElementsByClassName(box.value)) mark.style.display = box.checked ? "" : "none";
}
for (const box of document.querySelectorAll(".methods input")) {
  show(box); // a reload keeps the boxes as they were
  box.addEventListener("change", () => show(box));
}
function honour() {
  const wanted = new URLSearchParams(location.hash.slice(1));
  for (const [key, value] of wanted) {
    if (!/^[a-z0-9-]+$/.test(key + value)) continue;
    if (key === "axis") ["convergence", "cost"].forEach((group) => choose(group, value));
    if (key === "theme") choose("theme", value);
    if (key === "hide") document.querySelectorAll(`.methods input[value="${value}"]`).forEach((box) => { box.checked = false; show(box); });
    if (key === "open") document.querySelectorAll("details").forEach((d) => { d.open = true; });
    if (key === "at") document.getElementById(value)?.scrollIntoView();
  }
}
addEventListener("hashchange", honour);
honour();

// Tables: a click on a header sorts by it; a second click turns the order.
function sort(table, column, header) {
  const down = header.getAttribute("aria-sort") !== "descending";
  for (const other of header.parentNode.children) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", down ? "descending" : "ascending");
  const key = (row) => row.children[column].dataset.value;
  const number = !header.classList.contains("text");
  const rows = [...table.tBodies[0].rows];
  rows.sort((a, b) => {
    const [x, y] = [key(a), key(b)];
    if (x === "" || y === "") return (x === "") - (y === ""); // what is missing stays last
    const order = number ? x - y : x.localeCompare(y);
    return down ? -order : order;
  });
  table.tBodies[0].append(...rows);
}
for (const table of document.querySelectorAll("figure.table table")) {
  const frame = document.createElement("div");
  frame.className = "scroll";
  frame.tabIndex = 0;
  frame.setAttribute("role", "region");
  frame.setAttribute("aria-label", table.caption.textContent);
  table.replaceWith(frame);
  frame.append(table);
  [...table.tHead.rows[0].cells].forEach((header, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = header.textContent;
    button.addEventListener("click", () => sort(table, column, header));
    header.replaceChildren(button);
  });
}

// Questions: a kind and a text to look for.
const kind = document.getElementById("kind"), search = document.getElementById("search");
if (kind) {
  const all = [...document.querySelectorAll(".question")];
  const filter = () => {
    const text = search.value.toLowerCase();
    let shown = 0;
    for (const question of all) {
      question.hidden = (kind.value && question.dataset.kind !== kind.value)
        || !question.textContent.toLowerCase().includes(text);
      shown += !question.hidden;
    }
    for (const group of document.querySelectorAll(".kind")) {
      group.hidden = !group.querySelector(".question:not([hidden])");
    }
    document.getElementById("found").textContent = `${shown} of ${all.length} questions`;
  };
  kind.closest(".filters").hidden = false;
  kind.addEventListener("change", filter);
  search.addEventListener("input", filter);
}
addEventListener("beforeprint", () => document.querySelectorAll("section > details:not(.question)").forEach((d) => { d.open = true; }));
