// The live page: shows what the gate sends, and hides rows that the search field does not ask for. It changes nothing at the
// gate, and the page is whole without it.
"use strict";
(() => {
  const field = document.getElementById("q");
  const live = document.getElementById("live");
  const wanted = () => field.value.trim().toLowerCase();

  function filter() {
    const words = wanted();
    for (const row of document.querySelectorAll("tr[data-row]")) {
      row.hidden = words !== "" && !row.textContent.toLowerCase().includes(words);
    }
    for (const table of document.querySelectorAll("table")) {
      const rows = [...table.querySelectorAll("tr[data-row]")];
      const note = document.getElementById(table.id + "-none");
      if (note) note.hidden = words === "" || rows.some((row) => !row.hidden);
    }
  }

  function show(html) {
    const next = new DOMParser().parseFromString(html, "text/html");
    for (const part of next.querySelectorAll("[data-part]")) {
      const shown = document.querySelector(`[data-part="${part.dataset.part}"]`);
      if (shown && shown.innerHTML !== part.innerHTML) shown.innerHTML = part.innerHTML;
    }
    filter();
  }

  // Where the page does not hold all rows, the gate itself looks for the words.
  async function ask() {
    const answer = await fetch("/?q=" + encodeURIComponent(field.value.trim()));
    if (answer.ok) show(await answer.text());
  }

  const isCut = () => document.querySelector("[data-cut]") !== null;
  let later = 0;
  field.addEventListener("input", () => {
    const query = wanted() === "" ? "/" : "/?q=" + encodeURIComponent(field.value.trim());
    history.replaceState(null, "", query);
    filter();
    clearTimeout(later);
    later = setTimeout(ask, 300);
  });
  field.form.addEventListener("submit", (event) => event.preventDefault());

  const events = new EventSource("/events");
  events.addEventListener("board", (event) => {
    live.textContent = "live";
    if (wanted() !== "" && isCut()) ask();
    else show(event.data);
  });
  events.addEventListener("error", () => {
    live.textContent = "not connected: this is how it stood; trying again";
  });
  filter();
})();
