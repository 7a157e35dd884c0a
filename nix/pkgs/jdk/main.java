// What short programs are made of, for the AOT cache: see ../jdk.nix.

import java.util.function.*;
import java.util.stream.*;

sealed interface Shape permits Circle, Square {}

record Circle(double radius) implements Shape {}

record Square(double side) implements Shape {}

enum Colour { RED, GREEN }

String describe(Object value) {
    return switch (value) {
        case Circle(double radius) when radius > 1 -> "large circle";
        case Circle circle -> "circle of " + circle.radius();
        case Square square -> String.format("square of %.2f", square.side());
        case int[] numbers -> Arrays.toString(numbers);
        case Colour colour -> colour.name().toLowerCase();
        default -> value.toString();
    };
}

void collections() {
    var counts = new TreeMap<String, Integer>();
    for (String word : "b a b".split(" ")) counts.merge(word, 1, Integer::sum);
    Map<Boolean, List<Integer>> parts = IntStream.rangeClosed(1, 10).boxed()
        .collect(Collectors.partitioningBy(number -> number % 2 == 0));
    var names = Stream.of("x", "y").map(String::toUpperCase).sorted(Comparator.reverseOrder())
        .collect(Collectors.joining(", ", "[", "]"));
    System.out.println(counts + " " + parts + " " + names);
    Deque<Integer> queue = new ArrayDeque<>(new PriorityQueue<>(List.of(3, 1, 2)));
    while (!queue.isEmpty()) System.out.print(queue.poll() + (queue.isEmpty() ? "\n" : " "));
}

void main() throws Exception {
    for (Object value : new Object[] {new Circle(2), new Circle(1), new Square(1), new int[] {1}, Colour.RED, 'c'}) {
        System.out.println(describe(value));
    }
    collections();
    System.out.printf("%d %s%n", new Helper<>(41).apply(number -> number + 1), """
        text \
        block""");
    var text = new StringBuilder();
    for (char letter : "hello".toCharArray()) text.insert(0, letter);
    IO.println(text.toString() + Math.sqrt(2) + Optional.of(1L).map(Long::doubleValue).orElse(0.0));
    Thread thread = new Thread(() -> System.out.println("in a thread"));
    thread.start();
    thread.join();
    try {
        throw new IllegalStateException("thrown and caught");
    } catch (RuntimeException exception) {
        System.err.println(exception.getMessage());
    }
}
