// The one script of the pages. Without it they are plain pages and forms. It never decides and never sends
// anything by itself: it shows times in the viewer's zone, counts down, loads a page again when it has changed,
// takes digests of files, and keeps a form from being sent twice.
"use strict";

(() => {
  const two = (n) => String(n).padStart(2, "0");
  const utc = (t) => t.toISOString().slice(0, 19).replace("T", " ") + " UTC";
  const here = (t) => `${t.getFullYear()}-${two(t.getMonth() + 1)}-${two(t.getDate())} ${two(t.getHours())}:${two(t.getMinutes())}:${two(t.getSeconds())}`;

  let stream = null;
  const stop = () => { if (stream) stream.close(); stream = null; };

  const left = (ms) => {
    if (ms <= 0) return "over";
    const s = Math.floor(ms / 1000), d = Math.floor(s / 86400), h = Math.floor(s / 3600) % 24, m = Math.floor(s / 60) % 60;
    if (d > 0) return `${d} d ${h} h`;
    if (h > 0) return `${h} h ${m} min`;
    if (m > 0) return `${m} min ${s % 60} s`;
    return `${s} s`;
  };

  const count = () => {
    for (const e of document.querySelectorAll("[data-until]")) {
      const text = left(Date.parse(e.dataset.until) - Date.now());
      if (e.textContent !== text) e.textContent = text;
      e.title = utc(new Date(e.dataset.until));
    }
  };

  const zone = () => {
    for (const e of document.querySelectorAll("time[datetime]:not([data-here])")) {
      const t = new Date(e.dateTime);
      e.dataset.here = "";
      e.title = utc(t);
      e.textContent = here(t);
    }
    for (const e of document.querySelectorAll("[data-zone]")) {
      e.textContent = `in your zone, ${Intl.DateTimeFormat().resolvedOptions().timeZone || "local time"}; point at one for UTC`;
    }
  };

  // A form is sent once. Coming back to the page makes it usable again.
  document.addEventListener("submit", (e) => {
    if (e.target.method !== "post") return;
    if (e.target.dataset.sent) { e.preventDefault(); return; }
    e.target.dataset.sent = "1";
    stop(); // what the form does must not load this page again while the next one comes
    setTimeout(() => { for (const b of e.target.querySelectorAll("button")) b.disabled = true; });
  });
  addEventListener("pageshow", (e) => {
    if (e.persisted) { location.reload(); return; }
    for (const f of document.querySelectorAll("form")) {
      delete f.dataset.sent;
      for (const b of f.querySelectorAll("button")) b.disabled = false;
    }
  });

  // What somebody has typed or opened stays when a part of the page is replaced.
  const swap = (old, fresh) => {
    if (old.outerHTML === fresh.outerHTML || old.dataset.shown === fresh.outerHTML) return;
    const typed = {}, open = new Set();
    for (const f of old.querySelectorAll("textarea, input:not([type=hidden]), select")) {
      if (f.name) typed[f.form?.getAttribute("action") + " " + f.name] = [f.value, f.checked, f === document.activeElement];
    }
    for (const d of old.querySelectorAll("details[open] > summary")) open.add(d.textContent);
    const html = fresh.outerHTML;
    const next = document.importNode(fresh, true);
    old.replaceWith(next);
    next.dataset.shown = html;
    for (const d of next.querySelectorAll("details > summary")) if (open.has(d.textContent)) d.parentElement.open = true;
    for (const f of next.querySelectorAll("textarea, input:not([type=hidden]), select")) {
      const was = typed[f.form?.getAttribute("action") + " " + f.name];
      if (!was) continue;
      if (f.type === "checkbox") f.checked = was[1]; else f.value = was[0];
      if (was[2]) f.focus();
    }
    next.classList.add("flash");
  };

  const say = (text) => { for (const e of document.querySelectorAll("[data-live-state]")) if (e.textContent !== text) e.textContent = text; };

  let loading = false, again = false;
  const load = async () => {
    if (loading) { again = true; return; }
    loading = true;
    try {
      const answer = await fetch(location.href, { redirect: "manual", headers: { Accept: "text/html" } });
      if (answer.type === "opaqueredirect" || answer.status === 404 || answer.status === 403) { location.reload(); return; }
      if (!answer.ok) { say("This page has changed and could not be loaded again; load it yourself."); return; }
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const old of document.querySelectorAll("[data-region]")) {
        const fresh = page.getElementById(old.id);
        if (fresh) swap(old, fresh);
      }
      document.body.dataset.live = page.body.dataset.live;
      zone();
      count();
    } finally {
      loading = false;
      if (again) { again = false; load(); }
    }
  };

  const listen = () => {
    const at = document.body.dataset.live;
    if (!at || stream) return;
    stream = new EventSource(at);
    stream.addEventListener("open", () => say("Live: changes appear by themselves."));
    stream.addEventListener("changed", load);
    stream.addEventListener("gone", () => { stop(); location.reload(); });
    stream.addEventListener("error", () => {
      say("Not live at the moment; connecting again.");
      if (stream && stream.readyState === EventSource.CLOSED) { stop(); setTimeout(() => { load(); listen(); }, 5000); }
    });
  };

  // A page that nobody looks at does not hold a connection; it catches up when it is looked at again.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) { stop(); return; }
    if (document.body.dataset.live) { load(); listen(); }
  });
  addEventListener("pagehide", stop);

  // Files that are dropped are read here, and only their name, size and digest go into the form.
  const hex = (b) => Array.from(new Uint8Array(b), (x) => x.toString(16).padStart(2, "0")).join("");
  const largest = 2 ** 31 - 1; // bytes that a browser reads at once
  const take = async (files) => {
    const box = document.querySelector("[data-artifacts]"), state = document.querySelector("[data-drop-state]");
    for (const file of files) {
      if (file.size > largest) { state.textContent = `${file.name} is too large for the browser; take its digest with sha256sum and type it in.`; continue; }
      state.textContent = `Taking the digest of ${file.name}…`;
      const digest = hex(await crypto.subtle.digest("SHA-256", await file.arrayBuffer()));
      let line = [...box.children].find((l) => [...l.querySelectorAll("input")].every((i) => !i.value));
      if (!line) {
        line = box.lastElementChild.cloneNode(true);
        for (const i of line.querySelectorAll("input")) i.value = "";
        box.append(line);
      }
      line.querySelector("[name=artifact-name]").value = file.name;
      line.querySelector("[name=artifact-size]").value = file.size;
      line.querySelector("[name=artifact-hash]").value = "SHA-256";
      line.querySelector("[name=artifact-digest]").value = digest;
      state.textContent = `The digest of ${file.name} was taken.`;
    }
  };
  const drop = document.querySelector("[data-drop]");
  if (drop && crypto.subtle) {
    drop.querySelector("[data-files]").addEventListener("change", (e) => { take([...e.target.files]); e.target.value = ""; });
    for (const kind of ["dragenter", "dragover"]) drop.addEventListener(kind, (e) => { e.preventDefault(); drop.classList.add("over"); });
    for (const kind of ["dragleave", "drop"]) drop.addEventListener(kind, () => drop.classList.remove("over"));
    drop.addEventListener("drop", (e) => { e.preventDefault(); take([...e.dataTransfer.files]); });
  } else if (drop) {
    drop.hidden = true;
  }

  zone();
  count();
  setInterval(count, 1000);
  if (!document.hidden) listen();
})();
