import java.util.function.Function;

class Helper<T extends Comparable<T>> {
    private final T value;

    Helper(T value) {
        this.value = value;
    }

    <R> R apply(Function<? super T, ? extends R> function) {
        return function.apply(value);
    }
}
