"use strict";
(() => {
  const data = JSON.parse(document.getElementById("passages").textContent);
  const esc = (p) => (100 * p).toFixed(p < 0.0995 ? 1 : 0) + " %";
  const list = (alternatives, id) =>
    alternatives.map(([token, p]) => {
      const item = document.createElement("li");
      const code = document.createElement("code");
      code.textContent = data.tokens[token];
      item.append(code, " " + esc(p / 1000));
      if (token === id) item.className = "hit";
      return item;
    });
  document.querySelectorAll(".passage").forEach((box, number) => {
    const passage = data.passages[number];
    const panel = box.querySelector(".panel");
    const spans = [...box.querySelectorAll(".colored span")];
    const text = box.querySelector(".colored");
    let current = -1;
    const show = (k) => {
      if (k < 0 || k >= spans.length) return;
      if (current >= 0) spans[current].classList.remove("now");
      current = k;
      spans[k].classList.add("now");
      const [id, nats, alternatives, otherNats, otherAlternatives] = passage[k];
      const token = document.createElement("code");
      token.textContent = data.tokens[id];
      const line = document.createElement("p");
      line.append(token, " " + data.words.loss + " " + nats.toFixed(2) + " (" + esc(Math.exp(-nats)) + ")");
      const first = document.createElement("ol");
      first.append(...list(alternatives, id));
      const parts = [line, first];
      if (otherNats !== undefined) {
        const second = document.createElement("p");
        second.textContent = data.words.other + " " + otherNats.toFixed(2) + " (" + esc(Math.exp(-otherNats)) + ")";
        const others = document.createElement("ol");
        others.append(...list(otherAlternatives, id));
        parts.push(second, others);
      }
      panel.replaceChildren(...parts);
    };
    const place = (event) => spans.indexOf(event.target.closest("span"));
    text.addEventListener("mouseover", (event) => show(place(event)));
    text.addEventListener("click", (event) => show(place(event)));
    text.addEventListener("focus", () => show(Math.max(current, 0)));
    text.addEventListener("keydown", (event) => {
      const moves = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: 10, ArrowUp: -10 };
      let to = current + (moves[event.key] || 0);
      if (event.key === "Home") to = 0;
      else if (event.key === "End") to = spans.length - 1;
      else if (!(event.key in moves)) return;
      event.preventDefault();
      show(Math.min(Math.max(to, 0), spans.length - 1));
      spans[current].scrollIntoView({ block: "nearest" });
    });
  });
})();
