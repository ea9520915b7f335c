// What pages gain where scripts run; each of them works without.
"use strict";

// <form data-confirm="Really?"> asks before it is sent.
document.addEventListener("submit", event => {
  const question = event.target.dataset.confirm;
  if (question && !window.confirm(question)) event.preventDefault();
});

// <select data-submits> sends its form when another choice is made.
document.addEventListener("change", event => {
  if (event.target.matches("[data-submits]")) event.target.form.requestSubmit();
});

// <div data-live="/console/overview/live" data-every="5"> is fetched anew every so many seconds while somebody looks.
// What somebody has focused or opened in it is left alone until they are done.
for (const part of document.querySelectorAll("[data-live]")) {
  const every = Number(part.dataset.every || 5) * 1000;
  const told = document.querySelector(part.dataset.told || "[data-live-told]");
  let failed = 0;
  const look = async () => {
    const busy = part.contains(document.activeElement) || part.querySelector("details[open]");
    if (!document.hidden && !busy) {
      try {
        const answer = await fetch(part.dataset.live, {headers: {"Accept": "text/html"}, redirect: "manual"});
        if (answer.type === "opaqueredirect") {
          if (told) told.textContent = "You were logged off. Load the page to log on again.";
          return;
        }
        if (!answer.ok) throw new Error(answer.status);
        const text = await answer.text();
        if (part.dataset.last !== text) part.innerHTML = text;
        part.dataset.last = text;
        if (failed && told) told.textContent = "Up to date again.";
        failed = 0;
        if (answer.headers.get("X-Live") === "done") {
          if (part.dataset.after === "reload") window.location.reload();
          return;
        }
      } catch {
        failed += 1;
        if (failed === 3 && told) told.textContent = "The server does not answer; what you see may be old.";
      }
    }
    window.setTimeout(look, every * Math.min(2 ** failed, 8));
  };
  window.setTimeout(look, every);
}

// <form data-check="/console/offers/check" data-into="#checked">: what is typed is checked by the server, which answers
// with a piece of page.
for (const form of document.querySelectorAll("form[data-check]")) {
  const into = document.querySelector(form.dataset.into);
  let timer = 0, asked = 0;
  form.addEventListener("input", () => {
    window.clearTimeout(timer);
    timer = window.setTimeout(async () => {
      const mine = ++asked;
      try {
        const answer = await fetch(form.dataset.check, {
          method: "POST", body: new URLSearchParams(new FormData(form)), headers: {"Accept": "text/html"},
        });
        const text = await answer.text();
        if (mine === asked && answer.ok) into.innerHTML = text;
      } catch { /* The form says the same when it is sent. */ }
    }, 400);
  });
}
