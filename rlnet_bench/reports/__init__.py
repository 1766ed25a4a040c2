"""Tables, figures and HTML: pure functions of records and estimates."""
