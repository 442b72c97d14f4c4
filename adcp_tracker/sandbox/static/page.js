"use strict";
const $ = (id) => document.getElementById(id);
const MOST_ROWS = 500;
const query = () => new URLSearchParams(new FormData($("filters"))).toString();
let source = null;
let opener = null;
let unread = 0;

function show(state, lost) {
  $("state").textContent = state;
  $("state").className = lost ? "lost" : "";
}

function setShown(total) {
  const shown = $("timeline").children.length;
  $("shown").textContent = `${shown.toLocaleString("en")} of ${total.toLocaleString("en")}`;
  $("shown").dataset.total = total;
  $("more").hidden = shown >= total;
  $("empty").hidden = shown > 0;
}

function addRows(html, added) {
  const list = $("timeline");
  list.insertAdjacentHTML("afterbegin", html);
  while (list.children.length > MOST_ROWS) list.lastElementChild.remove();
  setShown(Number($("shown").dataset.total) + added);
  unread += added;
}

// Screen readers hear of new events at most every three seconds.
setInterval(() => {
  if (unread) $("news").textContent = `${unread} new event${unread === 1 ? "" : "s"}`;
  unread = 0;
}, 3000);

function replace(id, html) {
  const isNew = $(id).innerHTML !== html;
  if (isNew) $(id).innerHTML = html;
  return isNew;
}

function listen(after) {
  source?.close();
  source = new EventSource(`/_sandbox/stream?after=${after}&${query()}`);
  source.onopen = () => show("listening", false);
  source.onerror = () => show("does not answer", true);
  source.onmessage = (message) => {
    const news = JSON.parse(message.data);
    if (news.reload) { load(); return; }
    if (replace("counts", news.counts)) countLettersSoon();
    replace("faults", news.faults);
    mergeChips(news.chips);
    if (news.added) addRows(news.rows, news.added);
  };
}

// Counters change in place, so that the keyboard's focus stays on its chip.
function mergeChips(html) {
  const fresh = new DOMParser().parseFromString(html, "text/html");
  const names = (root) => [...root.querySelectorAll(".chip input")].map((each) => each.name + each.value);
  if (String(names(fresh)) !== String(names($("chips")))) {
    const focused = document.activeElement?.closest?.(".chip")?.querySelector("input");
    $("chips").innerHTML = html;
    if (focused) {
      const again = [...$("chips").querySelectorAll("input")]
        .find((each) => each.name === focused.name && each.value === focused.value);
      again?.focus();
    }
    return;
  }
  const counters = [...fresh.querySelectorAll(".chip b")];
  $("chips").querySelectorAll(".chip b").forEach((each, at) => { each.textContent = counters[at].textContent; });
}

async function fetchPage(extra = "") {
  const answer = await fetch(`/?${query()}${extra}`, {cache: "no-store"});
  return new DOMParser().parseFromString(await answer.text(), "text/html");
}

async function load() {
  try {
    const fresh = await fetchPage();
    for (const id of ["timeline", "empty", "counts", "faults"]) $(id).innerHTML = fresh.getElementById(id).innerHTML;
    mergeChips(fresh.getElementById("chips").innerHTML);
    $("more").href = fresh.getElementById("more").getAttribute("href");
    setShown(Number(fresh.getElementById("shown").dataset.total ?? fresh.getElementById("shown").textContent.split(" of ")[1].replaceAll(",", "")));
    listen(fresh.body.dataset.last);
  } catch { show("does not answer", true); }
}

async function post(path, body, method = "POST") {
  const options = {method, headers: {"Content-Type": "application/json"}};
  if (body !== undefined) options.body = JSON.stringify(body);
  return fetch(path, options);
}

async function openEntry(link) {
  const answer = await fetch(link.href, {headers: {"X-Fragment": "1"}, cache: "no-store"});
  closeEntry(false);
  opener = link.id;
  link.setAttribute("aria-current", "true");
  $("drawer").innerHTML = await answer.text();
  $("drawer").hidden = false;
  $("drawer").scrollTop = 0;
  $("drawer").querySelector("h2").focus();
}

// The number of dead letters: after what the seller did, and once the tracker has stored them.
async function countLetters() {
  try {
    const answer = await fetch("/_sandbox/dead-letters/count", {cache: "no-store"});
    $("letter-count").textContent = (await answer.json()).count ?? "";
  } catch { /* the state says that it does not answer */ }
}

let counting = [];
function countLettersSoon() {
  counting.forEach(clearTimeout);
  counting = [setTimeout(countLetters, 300), setTimeout(countLetters, 2000)];
}

async function sendLetters(button) {
  const panel = $("drawer").querySelector(".panel");
  const chosen = [...panel.querySelectorAll("[name=letter]:checked")].map((each) => each.value);
  const {replay, correct} = button.dataset;
  const wanted = {all: {all: true}, chosen: {ids: chosen}}[replay] ?? (replay && JSON.parse(replay));
  button.disabled = true;
  const answer = correct
    ? await post("/_sandbox/dead-letters/correct", {id: correct, event: $(`event-${correct}`).value})
    : await post("/_sandbox/dead-letters/replay", wanted);
  const news = await answer.json();
  if (answer.ok) await openEntry($("letters"));
  else button.disabled = false;
  $("drawer").querySelector(".result").textContent = news.result ?? news.error;
  countLettersSoon();
}

function closeEntry(refocus = true) {
  for (const each of document.querySelectorAll("[aria-current]")) each.removeAttribute("aria-current");
  $("drawer").hidden = true;
  $("drawer").replaceChildren();
  if (refocus) (opener && $(opener) || $("timeline")).focus();
  opener = null;
}

async function copy(button) {
  const text = $("drawer").querySelector(`[data-text="${button.dataset.copy}"]`).textContent;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = Object.assign(document.createElement("textarea"), {value: text});
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
    button.focus();
  }
  $("news").textContent = `Copied as ${button.dataset.copy}`;
  const label = button.textContent;
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = label; }, 1500);
}

$("timeline").addEventListener("click", (event) => {
  const link = event.target.closest("a");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  openEntry(link);
});

for (const name of ["coach", "letters"]) {
  $(name).addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    openEntry($(name));
  });
}

$("drawer").addEventListener("click", async (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  if (button.classList.contains("close")) closeEntry();
  if (button.dataset.copy) copy(button);
  if (button.dataset.replay || button.dataset.correct) sendLetters(button);
  if (button.dataset.resend) {
    const answer = await post(`/_sandbox/entry/${button.dataset.resend}/resend`, {});
    const news = await answer.json();
    $("news").textContent = button.textContent = news.result ?? news.error;
  }
});

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !$("drawer").hidden && !$("menu").open) closeEntry();
});

let typing = 0;
$("filters").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => { history.replaceState(null, "", `/?${query()}`); load(); }, 150);
});
$("filters").addEventListener("submit", (event) => event.preventDefault());

$("more").addEventListener("click", async (event) => {
  event.preventDefault();
  const last = $("timeline").lastElementChild;
  const fresh = await fetchPage(`&before=${last.dataset.number}`);
  const first = fresh.querySelector("#timeline li a")?.id;
  $("timeline").insertAdjacentHTML("beforeend", fresh.getElementById("timeline").innerHTML);
  setShown(Number($("shown").dataset.total));
  if (first) $(first).focus();
});

$("clear").addEventListener("click", async () => {
  await post("/_sandbox/clear");
  if (!$("drawer").hidden) closeEntry(false);
  load();
});

$("faults").addEventListener("click", async (event) => {
  if (!event.target.closest("button")) return;
  await fetch("/_sandbox/faults", {method: "DELETE"});
  $("break").focus();
});

$("break").addEventListener("click", () => $("menu").showModal());
$("cancel").addEventListener("click", () => $("menu").close());
$("inject").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = new FormData($("inject"));
  const times = form.get("times") === "" ? null : Number(form.get("times"));
  const answer = await post("/_sandbox/faults", {...JSON.parse(form.get("fault")), times, on: form.get("on")});
  $("inject-error").textContent = answer.ok ? "" : (await answer.json()).error;
  if (answer.ok) { $("menu").close(); $("break").focus(); }
});

if (matchMedia("(max-width: 55rem)").matches && !query().replace("q=", "")) $("more-filters").open = false;

$("shown").dataset.total ??= $("shown").textContent.split(" of ")[1].replaceAll(",", "");
setShown(Number($("shown").dataset.total));
listen(document.body.dataset.last);
countLetters();
