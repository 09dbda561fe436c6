// What is pointed at is told at once, and shown in the drawings beside; a kind that is chosen in the legend is shown alone. Without this
// script every point has its title. Text is only ever set as text.
(() => {
  const NEAR = 16;
  const box = document.createElement("div");
  box.id = "said-of";
  box.hidden = true;
  box.setAttribute("role", "status");
  document.body.append(box);
  let lit = [];
  const dark = () => { lit.forEach((circle) => circle.classList.remove("at")); lit = []; box.hidden = true; };
  for (const group of document.querySelectorAll(".together, .scatter:not(.together .scatter)")) {
    const drawings = [...group.querySelectorAll("svg")].map((svg) => ({ svg, circles: [...svg.querySelectorAll("circle")] }));
    const first = [];
    for (const { svg, circles } of drawings) {
      const told = circles.map((circle) => { const title = circle.querySelector("title"), text = title.textContent; title.remove(); circle.setAttribute("aria-label", text); return text; });
      if (!first.length) first.push(...told); // it tells more where the drawings are of the same points
      const at = circles.map((circle) => [circle.cx.baseVal.value, circle.cy.baseVal.value]);
      const point = (event) => {
        const matrix = svg.getScreenCTM(), x = (event.clientX - matrix.e) / matrix.a, y = (event.clientY - matrix.f) / matrix.d;
        let nearest = -1, least = (NEAR / matrix.a) ** 2;
        at.forEach(([left, top], number) => {
          const distance = (left - x) ** 2 + (top - y) ** 2;
          const shown = !group.classList.contains("pale") || circles[number].parentNode.classList.contains("chosen");
          if (shown && distance < least) { least = distance; nearest = number; }
        });
        dark();
        if (nearest < 0) return;
        for (const other of drawings) if (other.circles.length === circles.length) lit.push(other.circles[nearest]);
        lit.forEach((circle) => circle.classList.add("at"));
        box.textContent = (circles.length === first.length ? first : told)[nearest];
        box.hidden = false;
        const size = box.getBoundingClientRect();
        box.style.left = Math.max(4, Math.min(event.clientX + 14, innerWidth - size.width - 8)) + "px";
        box.style.top = (event.clientY + 18 + size.height > innerHeight ? event.clientY - size.height - 12 : event.clientY + 16) + "px";
      };
      svg.addEventListener("pointermove", point);
      svg.addEventListener("pointerdown", point);
      svg.addEventListener("pointerleave", (event) => { if (event.pointerType === "mouse") dark(); });
    }
    const choose = (kind) => {
      const again = [...group.querySelectorAll(".kinds .chosen")].some((each) => each.dataset.k === kind);
      group.querySelectorAll(".kind").forEach((each) => {
        const chosen = !again && each.dataset.k === kind;
        each.classList.toggle("chosen", chosen);
        if (each.classList.contains("chooses")) each.setAttribute("aria-pressed", chosen);
      });
      group.classList.toggle("pale", !again);
    };
    for (const each of group.querySelectorAll(".kinds .kind")) {
      each.classList.add("chooses");
      each.tabIndex = 0;
      each.setAttribute("role", "button");
      each.setAttribute("aria-pressed", "false");
      each.onclick = () => choose(each.dataset.k);
      each.onkeydown = (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); choose(each.dataset.k); } };
    }
  }
})();
