"""What every error raised on purpose must say."""


def check_sentence(error):
    """Fail unless an error is a sentence for people."""
    text = str(error)
    assert len(text.split()) > 3
    assert text[-1] in ".?)", text
